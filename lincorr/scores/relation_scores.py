"""What evaluation finds of one relation, as types."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lincorr.scores.documents import key
from lincorr.scores.faithfulness import Faithfulness

FITS = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")

INFLUENCED_TARGET, INFLUENCING_SOURCE = "influenced target", "influencing source"
DIRECTIONS = (INFLUENCED_TARGET, INFLUENCING_SOURCE)

RANKS = (1, 3, 5)

COVERAGES = (
    ("whole", "the answer is one token"),
    ("phrase", "its first word is one token, which stands for it"),
    ("subword", "its first word is several tokens"),
)

Figure = float | None
"""A number that may be unknown; in JSON null."""


# --- hit rates -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shares:
    """A share for each k of `RANKS`."""

    at_1: Figure = field(metadata=key("1"))
    at_3: Figure = field(metadata=key("3"))
    at_5: Figure = field(metadata=key("5"))

    def at(self, rank: int) -> Figure:
        """The share at k = `rank`, one of `RANKS`."""
        return {1: self.at_1, 3: self.at_3, 5: self.at_5}[rank]


@dataclass(frozen=True, slots=True)
class HitRates(Shares):
    """Shares of the known sources (or targets) with a right one among the k strongest.

    Attributes:
        of: how many sources (targets) have a known right one; of a family, relations with a ground truth.
        chance: the shares to expect of weights in random order.
        low, high: ends of the shares' 95 % interval (bootstrap over what `of` counts); None where it is few.
    """

    of: int
    chance: Shares
    low: Shares | None = None
    high: Shares | None = None

    def interval(self, rank: int) -> tuple[Figure, Figure]:
        """Both ends of the share's interval at k = `rank`; None where it has none."""
        if self.low is None or self.high is None:
            return None, None
        return self.low.at(rank), self.high.at(rank)


@dataclass(frozen=True, slots=True)
class Hits:
    """Hit rates in both directions; None where no pair is known."""

    influenced_target: HitRates | None = field(metadata=key(INFLUENCED_TARGET))
    influencing_source: HitRates | None = field(metadata=key(INFLUENCING_SOURCE))

    def rates(self, direction: str) -> HitRates | None:
        """The rates of one of `DIRECTIONS`."""
        return self.influenced_target if direction == INFLUENCED_TARGET else self.influencing_source

    def hit(self, direction: str, rank: int) -> Figure:
        """The share of one of `DIRECTIONS` at k = `rank`."""
        rates = self.rates(direction)
        return None if rates is None else rates.at(rank)

    def hit_interval(self, direction: str, rank: int) -> tuple[Figure, Figure]:
        """Both ends of the 95 % interval of `hit`; None where it has none."""
        rates = self.rates(direction)
        return (None, None) if rates is None else rates.interval(rank)


class WithHits:
    """A fit whose hit rates may be known."""

    __slots__ = ()
    hits: Hits | None

    def rates(self, direction: str) -> HitRates | None:
        """The hit rates of one of `DIRECTIONS`; None where no pair is known."""
        return None if self.hits is None else self.hits.rates(direction)

    def hit(self, direction: str, rank: int) -> Figure:
        """The share of known sources (or targets) with a right one among the `rank` strongest."""
        return None if self.hits is None else self.hits.hit(direction, rank)

    def hit_interval(self, direction: str, rank: int) -> tuple[Figure, Figure]:
        """Both ends of the 95 % interval of `hit`; None where it has none."""
        return (None, None) if self.hits is None else self.hits.hit_interval(direction, rank)

    def chance(self, direction: str, rank: int) -> Figure:
        """The share of `hit` to expect of weights in random order."""
        rates = self.rates(direction)
        return None if rates is None else rates.chance.at(rank)

    def asked(self, direction: str) -> int | None:
        """How many sources (or targets) the hit rates are of."""
        rates = self.rates(direction)
        return None if rates is None else rates.of


# --- fits ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ColumnScore:
    """Held-out Pearson r and Spearman's rho of one output column."""

    token: str
    r: Figure
    spearman: Figure


@dataclass(frozen=True, slots=True)
class PathPoint:
    """One penalty of a ridge path.

    Attributes:
        root_penalty: √λ/σ₁.
        loo_r: leave-one-out r of the fitted rows.
        r, hit1, hit5: held-out r, and hit rates of the sources with a known target.
        chosen: "reading" or "best" where the penalty was chosen.
    """

    root_penalty: Figure
    loo_r: Figure
    r: Figure
    hit1: Figure
    hit5: Figure
    chosen: str | None


@dataclass(frozen=True, slots=True)
class FitScores(WithHits):
    """One map: how it was fitted, its held-out scores, and r where the relation cannot help.

    Attributes:
        name, label: one of `FITS`, and in words.
        source_columns, target_columns: p and q.
        method, reason: the solver, and why it was chosen.
        root_penalty, penalty: √λ/σ₁, and λ.
        rank: number of singular values above the noise floor.
        sigma_1, sigma_r, sigma_next: the largest singular value, the last above the floor and the next one.
        identified: whether a clear gap separates these two, or a penalty makes it irrelevant.
        normal_residual, min_norm_residual: as in `lincorr.solvers.result.Diagnosis`.
        r, r_std: mean and standard deviation of held-out Pearson r over output columns.
        r_low, r_high: 95 % interval of the mean over subjects (bootstrap).
        r2, spearman: means over output columns.
        r_all: mean r over every token of the vocabulary as output, where hidden states give it.
        spearman_sample, sampled_outputs: mean rho of a fixed sample of these tokens, and its size.
        r_shuffled, r_shuffled_std: with shuffled targets: mean and standard deviation over shuffles.
        r_mean_logit, r_other_prompt, r_unrelated: the other controls (`pipeline.evaluate.controls`).
        hits: of W as it is read, centred (`lincorr.solvers.centred`).
        hits_as_fitted: the paper's reading, without.
        faithfulness: over the target's answers.
        faithfulness_all: over every token of the vocabulary, of a fixed sample of the subjects, where hidden
            states give it.
        path: the ridge path that chose the penalty.
    """

    name: str
    label: str
    source_columns: int
    target_columns: int
    method: str
    reason: str
    root_penalty: Figure
    penalty: Figure
    rank: int
    sigma_1: Figure
    sigma_r: Figure
    sigma_next: Figure
    noise_floor: Figure
    identified: bool
    normal_residual: Figure
    min_norm_residual: Figure
    r: Figure
    r_std: Figure
    r_low: Figure
    r_high: Figure
    r2: Figure
    spearman: Figure
    r_all: Figure
    spearman_sample: Figure
    sampled_outputs: int | None
    r_shuffled: Figure
    r_shuffled_std: Figure
    r_mean_logit: Figure
    r_other_prompt: Figure
    r_unrelated: Figure
    r_by_target: tuple[ColumnScore, ...]
    hits: Hits | None
    path: tuple[PathPoint, ...]
    hits_as_fitted: Hits | None = None
    faithfulness: Faithfulness | None = None
    faithfulness_all: Faithfulness | None = None

    def hit_as_fitted(self, direction: str, rank: int) -> Figure:
        """The share of `hit` where rows of W are not centred."""
        return None if self.hits_as_fitted is None else self.hits_as_fitted.hit(direction, rank)


# --- a relation ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many answers (or which share) are of each kind of `COVERAGES`."""

    whole: float
    phrase: float
    subword: float

    @property
    def total(self) -> float:
        """Answers of all kinds."""
        return self.whole + self.phrase + self.subword


@dataclass(frozen=True, slots=True)
class SideFacts:
    """A relation's source or target: its template, and how many of its answers are columns."""

    template: str
    text: str
    columns: int
    answers: int
    dropped: int
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Interval:
    """How r_low and r_high were found: a bootstrap with `replicates` draws of `rows` subjects."""

    of: str
    level: float
    replicates: int
    rows: int


@dataclass(frozen=True, slots=True)
class OtherRelation:
    """The relation and its prompt that serve as a control."""

    relation: str
    template: str
    text: str


@dataclass(frozen=True, slots=True)
class IdentityScore:
    """r of the same token's logit after the source's prompt, without a fit: mean, deviation, columns."""

    r: Figure
    r_std: Figure
    columns: int


@dataclass(frozen=True, slots=True)
class Link:
    """A token at the other end of a large weight, and whether it is a right one."""

    token: str
    weight: Figure
    right: bool


@dataclass(frozen=True, slots=True)
class SourceLinks:
    """The right targets of a source, and the strongest ones of each fit that is read."""

    source: str
    truth: tuple[str, ...]
    by_fit: Mapping[str, tuple[Link, ...]]


@dataclass(frozen=True, slots=True)
class Hub:
    """A source that is among the strongest of many targets; of `right` of them it is a right source."""

    token: str
    targets: int
    right: int


@dataclass(frozen=True, slots=True)
class HubTable:
    """The greatest hubs of a map, compared with chance.

    Attributes:
        top: how many strongest sources of a target count.
        sources, targets: how many there are.
        expected, bound: a source's count with weights in random order, and the count that the greatest of
            all sources then passes in at most one of twenty cases.
    """

    top: int
    sources: int
    targets: int
    expected: float
    bound: int
    hubs: tuple[Hub, ...]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A block of W of one fit: one row for each source, one column for each target."""

    fit: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    weights: tuple[tuple[Figure, ...], ...]
    right: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True, slots=True)
class AskedScores:
    """The model's own answers to one question about every source.

    Attributes:
        asked: the prompt, with its slot.
        examples: (source answer, target answer) pairs told before it; their sources are not scored.
        hits: as of the domain's block of W, with each source's answers centred over the targets.
        calibrated: of influenced targets, each answer less its mean over the sources: what the model says
            whatever the source, which W does not hold either.
    """

    asked: str
    examples: tuple[tuple[str, ...], ...]
    hits: Hits
    calibrated: HitRates | None

    @property
    def shots(self) -> int:
        """Number of examples."""
        return len(self.examples)


@dataclass(frozen=True, slots=True)
class RelationScores:
    """All that evaluation finds of a relation.

    Attributes:
        other_prompt, unrelated_pair: what served as controls; None where the run has no such relation.
        warnings: sentences on scores that are not to be trusted.
        strongest: links of well-known sources.
        hubs: of each fit that is read.
        asked: what the model says when it is asked outright; None where it was not.
    """

    name: str
    family: str
    source: SideFacts
    target: SideFacts
    interval: Interval
    other_prompt: OtherRelation | None
    unrelated_pair: OtherRelation | None
    identity: IdentityScore
    warnings: tuple[str, ...]
    fits: tuple[FitScores, ...]
    strongest: tuple[SourceLinks, ...]
    hubs: Mapping[str, HubTable]
    heatmap: Heatmap
    asked: tuple[AskedScores, ...] | None = None

    def fit(self, name: str) -> FitScores | None:
        """The fit of this name, if there is one."""
        return next((fit for fit in self.fits if fit.name == name), None)

    @property
    def reading(self) -> FitScores:
        """The fit whose W is best to read: with ridge, from the full vocabulary where there is such a fit."""
        return next(
            fit for name in reversed(FITS) for fit in self.fits if fit.name == name and "ridge" in name
        )

    def side(self, role: str) -> SideFacts:
        """Its "source" or "target"."""
        return self.source if role == "source" else self.target
