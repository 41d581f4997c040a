"""What edits show: generalised or hallucinated, against chance and what was before; W as their predictor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from lincorr.scores.experiments import CaseWeights, EditCase, EditPredictor, EditScores, UnrelatedScores
from lincorr.scores.moments import deviation, finite_mean
from lincorr.scores.ranks import average_ranks, rank_correlation
from lincorr.solvers.result import LinearMap
from pipeline.experiments.copies import pearson
from pipeline.prepare.relations import RelationInputs

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one edit did.

    Attributes:
        source: token id of the answer that was taught.
        subject: the text of the subject that it was taught about.
        right: token ids of the target answers that follow from it.
        steps: updates made.
        took: whether the answer leads among the source's columns now.
        before, after: token id of the subject's target answer among the target's columns.
        moved: (q,) how the logits of the target's columns moved.
        predicted: fit -> (q,) how W says that they would move.
        unrelated_moved: standard deviation over the target's columns of how the logits of subjects moved that
            the edit is not about, their mean.
        unrelated_changed: share of those whose target answer is another now.
        unrelated_learnt: share of those whose source answer is the one that was taught.
    """

    source: int
    subject: str
    right: tuple[int, ...]
    steps: int
    took: bool
    before: int
    after: int
    moved: list[float]
    predicted: dict[str, list[float]]
    unrelated_moved: float
    unrelated_changed: float
    unrelated_learnt: float

    @property
    def generalised(self) -> bool:
        """Whether the target's answer is right for what was taught; if not, it is a hallucination."""
        return self.after in self.right


@dataclass(frozen=True, slots=True)
class Reading:
    """What a map's row of one source says of an edit.

    Attributes:
        reference: W_ref, the largest weight of a right target.
        generalised: W_gen, the weight of the target's answer after the edit.
        largest: W_max, the largest weight of the row's answers, and
        top: the target that has it.
    """

    reference: float
    generalised: float
    largest: float
    top: int


def edit_scores(
    relation: RelationInputs, outcomes: Sequence[Outcome], maps: Mapping[str, LinearMap], texts: Sequence[str]
) -> EditScores:
    """Return the scores of a relation's edits, without options and digests of maps.

    Rates and readings are over the edits that took; the others taught nothing that could generalise.

    Args:
        maps: by name of the fit, centred: weights of different sources are compared.
        texts: surface text of every token.
    """
    taken = [outcome for outcome in outcomes if outcome.took]
    movement = {name: movement_r(taken, name) for name in maps}
    readings = {name: [read(fitted, relation, outcome) for outcome in taken] for name, fitted in maps.items()}
    success = np.array([outcome.generalised for outcome in taken], dtype=bool)
    was_right = np.array([outcome.before in outcome.right for outcome in taken], dtype=bool)
    low, high = _interval(success)
    return EditScores(
        relation=relation.name,
        edits=len(outcomes),
        took=_share([outcome.took for outcome in outcomes]),
        steps=_mean([outcome.steps for outcome in taken]),
        success=_share(success),
        success_low=low,
        success_high=high,
        before=_share(was_right),
        gained=_share(success[~was_right]),
        random=1 / len(relation.target),
        unchanged=_share([outcome.after == outcome.before for outcome in taken]),
        target_columns=len(relation.target),
        unrelated=UnrelatedScores(
            moved=_mean([outcome.unrelated_moved / _spread(outcome) for outcome in taken]),
            changed=_mean([outcome.unrelated_changed for outcome in taken]),
            learnt=_mean([outcome.unrelated_learnt for outcome in taken]),
        ),
        fits={name: _predictor(relation, taken, found, movement[name]) for name, found in readings.items()},
        cases=tuple(
            _case(
                outcome,
                {name: found[i] for name, found in readings.items()},
                {name: float(r[i, i]) for name, r in movement.items()},
                texts,
            )
            for i, outcome in enumerate(taken)
        ),
        options={},
        maps={},
    )


def read(fitted: LinearMap, relation: RelationInputs, outcome: Outcome) -> Reading:
    """Read the row of W of what was taught, over the target's answers."""
    targets = relation.target.ids.tolist()
    row = fitted.block([outcome.source], targets)[0]
    weight = dict(zip(targets, row.tolist(), strict=True))
    top = targets[int(row.argmax())]
    return Reading(max(weight[t] for t in outcome.right), weight[outcome.after], weight[top], top)


def movement_r(taken: Sequence[Outcome], fit: str) -> Floats:
    """Return Pearson's r, over the target's columns, of W's prediction of edit i with the movement of edit j.

    Where i is j it is W's prediction of the edit; else what all edits have in common.
    """
    if not taken:
        return np.empty((0, 0))
    return pearson(np.array([o.predicted[fit] for o in taken]), np.array([o.moved for o in taken]))


def _predictor(
    relation: RelationInputs, taken: Sequence[Outcome], readings: Sequence[Reading], movement: Floats
) -> EditPredictor:
    """Say how well a map predicts what an edit leads to."""
    success = np.array([outcome.generalised for outcome in taken], dtype=bool)
    reference = np.array([reading.reference for reading in readings])
    top_right = np.array([r.top in o.right for r, o in zip(readings, taken, strict=True)], dtype=bool)
    r, others = np.diag(movement), movement[~np.eye(len(taken), dtype=bool)]
    return EditPredictor(
        movement_r=_mean(r),
        movement_r_std=deviation(r),
        movement_r_other_edit=_mean(others),
        top_is_right=_share(top_right),
        top_is_answer=_share([r.top == o.after for r, o in zip(readings, taken, strict=True)]),
        success_if_top_is_right=_share(success[top_right]),
        success_if_not=_share(success[~top_right]),
        reference_if_generalised=_mean(reference[success]),
        reference_if_hallucinated=_mean(reference[~success]),
        auc=auc(reference, success),
        spearman=rank_correlation(reference.tolist(), [_standing(relation, o) for o in taken]),
    )


def auc(values: Floats, positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive's value is larger than another's; ties count half.

    NaN where all are positive or none is.
    """
    n = int(positive.sum())
    if n in (0, len(values)):
        return float("nan")
    ranks = average_ranks(values[:, None])[:, 0]
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(values) - n)))


def _standing(relation: RelationInputs, outcome: Outcome) -> float:
    """How far the right answer's logit moved beyond the other columns', in their standard deviations."""
    moved = np.array(outcome.moved)
    column = {token: i for i, token in enumerate(relation.target.ids.tolist())}
    best = max(moved[column[token]] for token in outcome.right)
    return float((best - moved.mean()) / _spread(outcome))


def _spread(outcome: Outcome) -> float:
    return float(np.std(outcome.moved)) or float("nan")


def _case(
    outcome: Outcome, readings: Mapping[str, Reading], movement_r: Mapping[str, float], texts: Sequence[str]
) -> EditCase:
    return EditCase(
        source=texts[outcome.source],
        subject=outcome.subject,
        right=tuple(texts[token] for token in outcome.right),
        before=texts[outcome.before],
        after=texts[outcome.after],
        generalised=outcome.generalised,
        steps=outcome.steps,
        weights={
            name: CaseWeights(found.reference, found.generalised, found.largest, texts[found.top])
            for name, found in readings.items()
        },
        movement_r=movement_r,
    )


def _interval(success: NDArray[np.bool_]) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate."""
    if not len(success):
        return float("nan"), float("nan")
    found = binomtest(int(success.sum()), len(success)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _share(flags: Any) -> float:
    return float(np.mean(flags)) if len(flags) else float("nan")


def _mean(values: Any) -> float:
    return finite_mean(np.array(values, dtype=np.float64)) if len(values) else float("nan")
