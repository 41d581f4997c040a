"""What a study adds to the results of its relations, as types."""

from collections.abc import Mapping
from dataclasses import dataclass

from lincorr.scores.relation_scores import Coverage, Figure, Hits, WithHits

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
    """Mean, standard deviation and range over wordings."""

    mean: float
    std: float
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
    """How often the target followed from an edit, at random, and the maps; the paper gives no `edits`."""

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
        hit1_given_random, r_given_random: the partial correlations, given the chance level.
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
class Study:
    """Many relations side by side.

    Attributes:
        paraphrases: relations in several wordings; only the first counts for its family.
        growth: by relation, of those that were followed.
        paper: None where the paper's figures were not asked for.
        generalisation: None where no relation was edited.
    """

    families: tuple[FamilySummary, ...]
    paraphrases: tuple[Wordings, ...]
    matrices: tuple[Matrix, ...]
    growth: tuple[Growth, ...]
    growth_by_family: tuple[FamilyGrowth, ...]
    paper: tuple[BesidePaper, ...] | None
    generalisation: Generalisation | None
