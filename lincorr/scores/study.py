"""What a study adds to the results of its relations, as types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lincorr.scores.relation_scores import INFLUENCED_TARGET, Coverage, Figure, Hits, WithHits
from lincorr.scores.singular_values import PowerLaw

FEWEST_RELATIONS = 3
"""Over fewer, an interval or a rank correlation says nothing."""


@dataclass(frozen=True, slots=True)
class FamilyFit(WithHits):
    """One fit over the relations of a family: means, the spread of r over relations, its 95 % interval.

    Attributes:
        faithfulness, faithfulness_constant: means of `Faithfulness.share` and `Faithfulness.constant`.
    """

    name: str
    label: str
    relations: int
    r: Figure
    r_std: Figure
    r_low: Figure
    r_high: Figure
    r_shuffled: Figure
    r_mean_logit: Figure
    r_other_prompt: Figure
    r_unrelated: Figure
    hits: Hits
    faithfulness: Figure = None
    faithfulness_constant: Figure = None


@dataclass(frozen=True, slots=True)
class FamilyCoverage:
    """The share of each kind of answer, of all sources and of all targets."""

    source: Coverage
    target: Coverage


@dataclass(frozen=True, slots=True)
class FamilySummary:
    """The relations of a family, and each fit over them.

    Attributes:
        ceilings: direction -> mean ceiling (`lincorr.scores.asked`) of the relations that were asked
            outright; None where none was.
    """

    family: str
    relations: tuple[str, ...]
    coverage: FamilyCoverage
    r_identity: Figure
    fits: tuple[FamilyFit, ...]
    ceilings: Mapping[str, Figure] | None = None

    def fit(self, name: str) -> FamilyFit | None:
        """The fit of this name, if there is one."""
        return next((fit for fit in self.fits if fit.name == name), None)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation and range over wordings; one alone has no deviation."""

    mean: float
    std: Figure
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class WordingFit:
    """One fit over several wordings: r, and hit@1 of influenced targets; None where unknown."""

    name: str
    r: Spread | None
    hit1: Spread | None


@dataclass(frozen=True, slots=True)
class Wordings:
    """A relation that was asked in several wordings: the texts of source and target of each, and its fits."""

    relation: str
    wordings: tuple[tuple[str, ...], ...]
    fits: tuple[WordingFit, ...]

    def fit(self, name: str) -> WordingFit | None:
        """The fit of this name, if there is one."""
        return next((fit for fit in self.fits if fit.name == name), None)


@dataclass(frozen=True, slots=True)
class MatrixPrompt:
    """A prompt of a matrix, and how many of its answers are columns."""

    name: str
    text: str
    columns: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Held-out r of every prompt of a family to every other, in one way of fitting.

    Attributes:
        r: one row for each source, one column for each target of `templates`; None on the diagonal, and
            where no answer has an r.
    """

    family: str
    fit: str
    templates: tuple[MatrixPrompt, ...]
    r: tuple[tuple[Figure, ...], ...]


@dataclass(frozen=True, slots=True)
class Matrices:
    """The matrices of a family, as they are stored."""

    matrices: tuple[Matrix, ...]


@dataclass(frozen=True, slots=True)
class GrowthPoint(WithHits):
    """The scores of one fit with the first `subjects` of a study, of which `fitted` were fitted."""

    subjects: int
    fitted: int
    fit: str
    root_penalty: float
    r: Figure
    r_std: Figure
    hits: Hits | None


@dataclass(frozen=True, slots=True)
class Growth:
    """A relation's scores against the number of subjects."""

    relation: str
    points: tuple[GrowthPoint, ...]


@dataclass(frozen=True, slots=True)
class FamilyPoint(WithHits):
    """Means over the `relations` of a family that have this point; r and hits of those that have them."""

    subjects: int
    fitted: int
    fit: str
    relations: int
    r: Figure
    hits: Hits


@dataclass(frozen=True, slots=True)
class FamilyGrowth:
    """A family's mean scores against the number of subjects."""

    family: str
    relations: int
    points: tuple[FamilyPoint, ...]


@dataclass(frozen=True, slots=True)
class BesidePaper:
    """A figure of the paper (`lincorr.relations.paper`) and ours, by fit."""

    relation: str
    measure: str
    paper: float
    model: str
    table: str
    note: str
    ours: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class EditedFit:
    """Precision and r of a map whose relation was edited."""

    hit1: Figure
    r: Figure


@dataclass(frozen=True, slots=True)
class EditedRelation:
    """How often the target followed from an edit that took, at random, and the maps.

    Attributes:
        edits: how many took; the paper does not say.
    """

    relation: str
    success: Figure
    random: Figure
    edits: int | None
    fits: Mapping[str, EditedFit]


@dataclass(frozen=True, slots=True)
class RankCorrelations:
    """Spearman's rho of the success of edits over relations.

    Attributes:
        relations: over how many.
        random, hit1, r: with the chance level, hit@1 and r.
        hit1_given_random, r_given_random: the partial correlations, given the chance level; None of three
            relations, where they would be 1 or -1 whatever the figures.
    """

    relations: int
    random: Figure
    hit1: Figure
    hit1_given_random: Figure
    r: Figure
    r_given_random: Figure


@dataclass(frozen=True, slots=True)
class Generalisation:
    """Whether edits generalise where W is precise; `paper` is the same of the paper's relations."""

    relations: tuple[EditedRelation, ...]
    fits: Mapping[str, RankCorrelations]
    paper: "Generalisation | None" = None


@dataclass(frozen=True, slots=True)
class Applied(WithHits):
    """One relation's map on another's held-out rows, and its rows of W at the other's sources.

    Attributes:
        r: mean Pearson r over outputs.
        hits: against the other's ground truth; None where it has none.
    """

    r: Figure
    hits: Hits | None


@dataclass(frozen=True, slots=True)
class RankPoint:
    """Mean held-out r of each map of a group through `directions` directions of its source.

    Attributes:
        together: through the same directions for all maps.
        alone: through each map's own.
    """

    directions: int
    together: tuple[Figure, ...]
    alone: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class JointRank:
    """How many directions the maps of a group need (`lincorr.scores.directions`).

    Attributes:
        share: of each map's r that is to be kept.
        r: of each whole map.
        together: directions that keep it for every map, the same for all; None where none do.
        alone: directions that each map needs by itself.
        points: some numbers of directions, those above among them.
    """

    share: float
    r: tuple[Figure, ...]
    together: int | None
    alone: tuple[int | None, ...]
    points: tuple[RankPoint, ...]

    @property
    def apart(self) -> int | None:
        """The sum of what each map needs by itself: what they need where nothing is shared."""
        known = [k for k in self.alone if k is not None]
        return sum(known) if len(known) == len(self.alone) else None


ANSWERS, WORDINGS, FAMILY = "answers", "wordings", "family"


@dataclass(frozen=True, slots=True)
class OperatorGroup:
    """Maps of one fit whose sources may be exchanged.

    Attributes:
        name: what they have in common.
        kind: `ANSWERS`: relations with the same target columns; `WORDINGS`: of one relation; `FAMILY`: of
            any targets.
        relations: their names.
        applied: a row for each map, a column for each relation's rows; None where the targets differ.
    """

    name: str
    kind: str
    fit: str
    relations: tuple[str, ...]
    applied: tuple[tuple[Applied, ...], ...] | None
    joint: JointRank

    def mean(self, of: Callable[[Applied], Figure], *, own: bool) -> Figure:
        """Return the mean of a figure over maps on their own relation's rows, or on those of others."""
        rows = enumerate(self.applied or ())
        cells = [cell for i, row in rows for j, cell in enumerate(row) if (i == j) is own]
        known = [value for cell in cells if (value := of(cell)) is not None]
        return sum(known) / len(known) if known else None

    def mean_r(self, *, own: bool) -> Figure:
        """Return the mean r."""
        return self.mean(lambda cell: cell.r, own=own)

    def mean_hit1(self, *, own: bool) -> Figure:
        """Return the mean hit@1 of influenced targets."""
        return self.mean(lambda cell: cell.hit(INFLUENCED_TARGET, 1), own=own)


@dataclass(frozen=True, slots=True)
class SingularValues:
    """The singular values of some templates' hidden states, each column less its mean, side by side.

    Attributes:
        templates: their names.
        count: how many singular values there are.
        rank_1, rank_01: how many exceed 1 % and 0.1 % of the largest.
        law: the power law that they follow; None where they are too few.
        numbers, values: some of them, from number 1.
    """

    templates: tuple[str, ...]
    count: int
    rank_1: int
    rank_01: int
    law: PowerLaw | None
    numbers: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StateSpectrum:
    """The spectrum of all templates' states side by side, and of each by itself, over `rows` subjects."""

    rows: int
    width: int
    together: SingularValues
    alone: tuple[SingularValues, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """Many relations side by side.

    Attributes:
        paraphrases: relations in several wordings; only the first counts for its family.
        growth: by relation, of those that were followed.
        paper: None where the paper's figures were not asked for.
        generalisation: None where no relation was edited.
        operators: maps on each other's rows, and their joint rank; None where no two can be exchanged.
        spectrum: None where there are no hidden states, and `no_spectrum` says why.
    """

    families: tuple[FamilySummary, ...]
    paraphrases: tuple[Wordings, ...]
    matrices: tuple[Matrix, ...]
    growth: tuple[Growth, ...]
    growth_by_family: tuple[FamilyGrowth, ...]
    paper: tuple[BesidePaper, ...] | None
    generalisation: Generalisation | None
    operators: tuple[OperatorGroup, ...] | None = None
    spectrum: StateSpectrum | None = None
    no_spectrum: str | None = None
