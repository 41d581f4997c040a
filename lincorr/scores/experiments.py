"""Results of experiments as types: edits, gradients, flips, training (resilience) and shallow networks."""

from collections.abc import Mapping
from dataclasses import dataclass

from lincorr.scores.relation_scores import Figure, Hits
from lincorr.scores.study import Generalisation

# --- edits ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnrelatedScores:
    """What edits did to subjects that they are not about.

    Attributes:
        moved: how far their target logits moved, those of the edited subject being 1.
        changed: share of target answers that changed.
        learnt: share of source answers that are now the one that was taught.
    """

    moved: Figure
    changed: Figure
    learnt: Figure


@dataclass(frozen=True, slots=True)
class EditPredictor:
    """How well a map predicts what an edit leads to.

    Attributes:
        movement_r, movement_r_std: Pearson r, over the target's columns, of the movement of the logits with
            that of the source's logits times W: mean and standard deviation over edits.
        movement_r_other_edit: mean r with the movement of other edits.
        top_is_right, top_is_answer: share of edits for which W's strongest target of what was taught is
            right, or is the answer after the edit.
        success_if_top_is_right, success_if_not: success in both cases.
        reference_if_generalised, reference_if_hallucinated: mean of the largest weight of a right target.
        auc: area under the ROC curve of this weight, generalised against hallucinated.
        spearman: rho of this weight with how far the right answer's logit moved beyond the others.
    """

    movement_r: Figure
    movement_r_std: Figure
    movement_r_other_edit: Figure
    top_is_right: Figure
    top_is_answer: Figure
    success_if_top_is_right: Figure
    success_if_not: Figure
    reference_if_generalised: Figure
    reference_if_hallucinated: Figure
    auc: Figure
    spearman: Figure


@dataclass(frozen=True, slots=True)
class CaseWeights:
    """What a map's row of the taught source says of an edit.

    Attributes:
        reference: W_ref, the largest weight of a right target.
        generalised: W_gen, the weight of the target's answer after the edit.
        largest, top: W_max, the largest weight of the row, and its target.
    """

    reference: Figure
    generalised: Figure
    largest: Figure
    top: str


@dataclass(frozen=True, slots=True)
class EditCase:
    """One edit that took: what was taught, the right targets, and the target's answer before and after."""

    source: str
    subject: str
    right: tuple[str, ...]
    before: str
    after: str
    generalised: bool
    steps: int
    weights: Mapping[str, CaseWeights]
    movement_r: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class EditScores:
    """The edits of a relation; rates and means are over those that took.

    Attributes:
        edits: how many were made, and
        took: the share after which the source's answer is the one that was taught.
        steps: mean number of training steps.
        success, success_low, success_high: share whose target answer follows from what was taught, and
            Wilson's 95 % interval.
        before, gained: share that was right before; success of those that were not.
        random: one over the number of target columns.
        unchanged: share whose target answer did not change.
        fits: by fit.
        options: `pipeline.experiments.edit.EditOptions`.
        maps: fit -> digest of the map that was read.
    """

    relation: str
    edits: int
    took: Figure
    steps: Figure
    success: Figure
    success_low: Figure
    success_high: Figure
    before: Figure
    gained: Figure
    random: float
    unchanged: Figure
    target_columns: int
    unrelated: UnrelatedScores
    fits: Mapping[str, EditPredictor]
    cases: tuple[EditCase, ...]
    options: Mapping[str, Figure]
    maps: Mapping[str, str]

    @property
    def taken(self) -> int:
        """How many took: what rates and means are over."""
        return round(self.edits * (self.took or 0.0))


@dataclass(frozen=True, slots=True)
class EditResults:
    """The edits of relations, and generalisation over relations."""

    relations: tuple[EditScores, ...]
    across: Generalisation


# --- gradients -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GradientFit:
    """Correlation of gradients with what a map makes of them.

    Attributes:
        r, r_std: mean and standard deviation over targets of the mean over subjects.
        r_other_target: mean r with what W makes of it for another target.
    """

    name: str
    r: Figure
    r_std: Figure
    r_other_target: Figure


@dataclass(frozen=True, slots=True)
class GradientScores:
    """The gradient correlation of a relation.

    Attributes:
        options: `pipeline.experiments.gradients.GradientOptions`.
        targets: how many answers were compared.
        paper: the paper's figure, if it reports one.
        maps: fit -> digest of the map that was read.
    """

    relation: str
    options: Mapping[str, Figure]
    targets: int
    fits: tuple[GradientFit, ...]
    paper: Figure
    maps: Mapping[str, str]


# --- flips ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flips:
    """What changes of a state do to answers, by kind of change (`pipeline.experiments.flips.CHANGES`).

    Attributes:
        at: the change's norm (read-out), or the layer after which it is made (model).
        wanted: share of the subjects whose answer became the wanted one.
        changed: share whose answer became another one.
    """

    at: float
    wanted: Mapping[str, Figure]
    changed: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class FlipScores:
    """The flips of a relation.

    Attributes:
        fit: the map that was turned round.
        known: sources with a known target, which were the subjects that were tried.
        right: the share of them that the model answers right.
        faithful: the share for which the map predicts the model's answer; some of them may be subjects that
            it was fitted to.
        subjects: how many of those that it answers right were changed.
        readout: the source's state is changed and read out, by norm; wanted is a right source.
        layers: the target's prompt is changed in the model, by layer; wanted is the target.
        options: `pipeline.experiments.flips.FlipOptions`.
        maps: fit -> digest of the map that was read.
    """

    relation: str
    fit: str
    known: int
    right: Figure
    faithful: Figure
    subjects: int
    readout: tuple[Flips, ...]
    layers: tuple[Flips, ...]
    options: Mapping[str, Figure]
    maps: Mapping[str, str]


# --- resilience ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelAndStore:
    """A model, as the settings describe it, and the location of its store."""

    model: str
    store: str


@dataclass(frozen=True, slots=True)
class BothFigures:
    """A figure of the model before training and of the model after."""

    before: Figure
    after: Figure


@dataclass(frozen=True, slots=True)
class BothHits:
    """Hit rates of the model before training and of the model after."""

    before: Hits | None
    after: Hits | None


@dataclass(frozen=True, slots=True)
class CrossScore:
    """Held-out r of a map of one model on the logits of one: each is "before" or "after".

    Attributes:
        r, r_std: mean and standard deviation over output columns.
        r_low, r_high: 95 % interval of the mean over subjects (bootstrap).
    """

    fitted: str
    tested: str
    r: Figure
    r_std: Figure
    r_low: Figure
    r_high: Figure


@dataclass(frozen=True, slots=True)
class FitResilience:
    """One fit of both models.

    Attributes:
        root_penalty: √λ/σ₁.
        scores: of each of the two maps on each of the two models.
        cosine, cosine_permuted: between the two W, and its mean with each target beside another's column.
    """

    name: str
    root_penalty: BothFigures
    scores: tuple[CrossScore, ...]
    cosine: Figure
    cosine_permuted: Figure
    hits: BothHits

    def r(self, fitted: str, tested: str) -> Figure:
        """The mean held-out r of the map of one model on the logits of one."""
        return next(score.r for score in self.scores if (score.fitted, score.tested) == (fitted, tested))


@dataclass(frozen=True, slots=True)
class RelationResilience:
    """The fits of a relation on both models, and the paper's figure, if it reports one."""

    relation: str
    family: str
    fits: tuple[FitResilience, ...]
    paper: Figure


@dataclass(frozen=True, slots=True)
class ResilienceResults:
    """The maps of two models on both; `subjects` are how many were fitted and held out."""

    before: ModelAndStore
    after: ModelAndStore
    subjects: tuple[int, ...]
    relations: tuple[RelationResilience, ...]


# --- shallow networks ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunShares:
    """A share in each run, its mean and standard deviation; one alone has none."""

    mean: float
    std: Figure
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MappingScores:
    """What networks show of one mapping.

    Attributes:
        mapping: "true", "permuted" or "letters".
        competing: among how many tokens an answer must lead.
        learnt: share of the trained prompts that are answered right.
        success, of_three: share of the held-out subjects whose target answer follows, among all that
            compete, and among the mapping's targets.
        paper: the paper's figure, if it reports one.
    """

    relation: str
    mapping: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    competing: int
    learnt: RunShares
    success: RunShares
    of_three: RunShares
    paper: Figure


@dataclass(frozen=True, slots=True)
class ShallowResults:
    """All mappings; `options` are those of `pipeline.experiments.shallow.ShallowOptions`."""

    model: str
    options: Mapping[str, float]
    mappings: tuple[MappingScores, ...]
