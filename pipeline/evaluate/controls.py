"""What r is worth: the r that is reached where the relation between the two prompts cannot help.

- *shuffled*: the targets of the fit rows are permuted, so that nothing is left to be learned.
- *mean logit*: one number a subject, the mean of its source logits, predicts every output: what all logits of
  a subject have in common.
- *other prompt*: the same source predicts the same tokens after a prompt of another relation: what any two
  prompts have in common about a subject, and a high bar where the other relation is close.
- *unrelated pair*: the same source predicts the answers of a relation of another family, after its prompt.
- *identity*: no fit at all; each target column is predicted by the logit of the same token after the source's
  prompt: what a token has in common with itself, whatever is asked.

All are scored on the same held-out rows as the map itself, all but the unrelated pair on the same outputs;
fits share its decomposed source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import like, namespace
from lincorr.relations.relation import Side
from lincorr.scores.bootstrap import SHUFFLES
from lincorr.scores.moments import Correlation, CrossMoments, beyond_rounding, deviation, finite_mean
from lincorr.scores.relation_scores import IdentityScore
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.reduced import Reduced
from lincorr.solvers.spectrum import Problem, Spectrum, coefficients
from lincorr.store.store import LogitStore
from pipeline.evaluate.predictions import logit_blocks
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.problem import held_out_moments
from pipeline.plan.memory import holds_coordinates
from pipeline.prepare.relations import RelationInputs

Floats = NDArray[np.float64]


WithTargets = Direct | Factored  # problems that hold their targets, so that these can be exchanged


@dataclass(frozen=True, slots=True)
class OtherPrompt:
    """A relation's target exchanged for that of another relation of the run: its prompt, or its answers, too.

    Attributes:
        relation: the other relation.
        inputs: of the first relation, with the other's prompt (and answers) as target.
    """

    relation: str
    inputs: FitInputs


def other_prompt(
    store: LogitStore, inputs: FitInputs, relations: Sequence[RelationInputs]
) -> OtherPrompt | None:
    """Choose a prompt of another relation, None where the run has none that can be used.

    The first relation of another family comes before the first of the same one, and a target prompt before a
    source prompt; another wording of one of this relation's prompts does not count, nor the same words under
    another name. Its logits of this relation's target tokens must be stored, or hidden states to compute them
    from.
    """
    mine = inputs.relation.relation
    taken = {mine.source.template.attribute, mine.target.template.attribute}
    words = {mine.source.template.text, mine.target.template.text}
    others = [r.relation for r in relations if r.name != mine.name]
    for other in sorted(others, key=lambda other: other.family == mine.family):
        for side in (other.target, other.source):
            name = side.template.name
            if side.template.attribute in taken or side.template.text in words:
                continue
            if store.identity.hidden or np.isin(inputs.relation.target.ids, store.column_ids(name)).all():
                exchanged = replace(mine, target=Side(side.template, mine.target.answers))
                relation = replace(inputs.relation, relation=exchanged)
                return OtherPrompt(other.name, replace(inputs, relation=relation))
    return None


def unrelated_pair(inputs: FitInputs, relations: Sequence[RelationInputs]) -> OtherPrompt | None:
    """Pair a relation's source with the target of a relation of another family; None where none is.

    The first whose answers have no column in common with the relation's own comes before the first of all;
    its target prompt must be none of the relation's own.
    """
    mine = inputs.relation.relation
    words = {mine.source.template.text, mine.target.template.text}
    answers = np.union1d(inputs.relation.source.ids, inputs.relation.target.ids)
    others = [
        other
        for other in relations
        if other.relation.family != mine.family and other.relation.target.template.text not in words
    ]
    for other in sorted(others, key=lambda other: bool(np.isin(other.target.ids, answers).any())):
        exchanged = replace(mine, target=other.relation.target)
        relation = replace(inputs.relation, relation=exchanged, target=other.target)
        return OtherPrompt(other.name, replace(inputs, relation=relation))
    return None


def exchangeable(store: LogitStore, inputs: FitInputs, source: Basis, problem: Problem) -> WithTargets | None:
    """Return a problem whose targets can be exchanged: itself, or an out-of-core one in its r coordinates.

    None where there are no coordinates (tiled), or where their rows do not fit into memory.
    """
    if isinstance(problem, WithTargets):
        return problem
    ids, rows = inputs.relation.target.ids, inputs.fit_rows
    if not isinstance(problem, Reduced) or not holds_coordinates(
        len(rows), problem.cut.rank, inputs.memory_bytes
    ):
        return None
    blocks = logit_blocks(store, inputs.source_template, inputs.source_ids(source), rows)
    left = np.concatenate([problem.coordinates(block) for block in blocks]) / problem.values[None, :]
    targets = store.logits(inputs.target_template, ids, rows).astype(np.float64)
    axes = np.eye(problem.cut.rank)
    decomposed = Spectrum(left, problem.values, axes, np.zeros(len(axes)), problem.cut)
    centred = targets - problem.target_mean
    projected = decomposed.project(centred)
    return Direct(problem.source_ids, ids, decomposed, centred, projected, problem.target_mean)


class ShuffledTargets:
    """Permuted targets of the fitted subjects, projected once for all maps of a source."""

    def __init__(self, problem: WithTargets, moments: CrossMoments, *, seed: int = 0) -> None:
        """Take a problem and the moments of its held-out rows.

        Targets are projected in float32: r moves by less than 1e-5, and by some .05 from shuffle to shuffle.
        """
        self._problem, self._moments = problem, moments
        xp, rng = namespace(self._problem.targets), np.random.default_rng(seed)
        targets, left = (
            xp.astype(array, xp.float32) for array in (self._problem.targets, self._problem.spectrum.left)
        )
        orders = (like(rng.permutation(targets.shape[0]), targets) for _ in range(SHUFFLES))
        self._projected = [
            xp.astype(left.T @ xp.take(targets, order, axis=0), xp.float64) for order in orders
        ]

    def r(self, root_penalty: float) -> tuple[float, float]:
        """Return the mean held-out r of fits to them: mean and standard deviation over shuffles."""
        found = []
        for projected in self._projected:
            shuffled = replace(self._problem, projected=projected)  # its targets are not read again
            scored = shuffled.score(coefficients(shuffled, root_penalty), self._moments)
            found.append(finite_mean(scored.pearson()))
        return float(np.mean(found)), float(np.std(found))


class OtherTargets:
    """Another target's answers to the same subjects, read once for all maps of a source."""

    def __init__(self, store: LogitStore, other: OtherPrompt, source: Basis, problem: Problem) -> None:
        inputs = other.inputs
        self._ids = inputs.relation.target.ids
        self._head = None
        if inputs.choices[source].method == "factored":
            self._head = store.readout().columns(self._ids).as_float64()
            targets = store.hidden(inputs.target_template, inputs.fit_rows)
        else:
            targets = store.logits(inputs.target_template, self._ids, inputs.fit_rows)
        self._targets = targets.astype(np.float64)
        self._moments = held_out_moments(store, inputs, source, problem)

    def r(self, problem: WithTargets, root_penalty: float) -> float:
        """Return the mean held-out r of a fit to the other target's logits."""
        targets = like(self._targets, problem.targets)
        if isinstance(problem, Factored):
            assert self._head is not None
            exchanged: WithTargets = problem.with_targets(targets, self._head, self._ids)
        else:
            exchanged = problem.with_targets(targets, self._ids)
        solution = coefficients(exchanged, root_penalty)
        return finite_mean(exchanged.score(solution, self._moments).pearson())


def identity_r(store: LogitStore, inputs: FitInputs) -> IdentityScore:
    """Score the same token's logit after the source's prompt as prediction of each target column.

    Returns:
        r, r_std over columns, and columns: how many targets have a logit after the source's prompt, which is
        all of them where hidden states are stored.
    """
    ids = inputs.relation.target.ids
    if not store.identity.hidden:
        ids = ids[np.isin(ids, store.column_ids(inputs.source_template))]
    if not len(ids):
        return IdentityScore(r=None, r_std=None, columns=0)
    same, target = (
        store.logits(name, ids, inputs.test_rows).astype(np.float64)
        for name in (inputs.source_template, inputs.target_template)
    )
    r = Correlation.of(same, target).pearson()
    return IdentityScore(finite_mean(r), deviation(r), len(ids))


def mean_logit_r(store: LogitStore, inputs: FitInputs, source: Basis) -> float:
    """Return the mean held-out r of the least-squares line from a subject's mean source logit."""
    fit, test = (_mean_logit(store, inputs, source, rows) for rows in (inputs.fit_rows, inputs.test_rows))
    y_fit, y_test = (
        store.logits(inputs.target_template, inputs.relation.target.ids, rows).astype(np.float64)
        for rows in (inputs.fit_rows, inputs.test_rows)
    )
    return line_r(fit, y_fit, test, y_test)


def line_r(x_fit: Floats, y_fit: Floats, x_test: Floats, y_test: Floats) -> float:
    """Return the mean r over columns of y (n, q) of the least-squares lines from one x (n,).

    A line's r is that of its x, with the sign of its slope.
    """
    slopes = (x_fit - x_fit.mean()) @ y_fit  # but for a factor that r does not see
    mean, x, y = y_test.mean(axis=0), x_test - x_test.mean(), y_test - y_test.mean(axis=0)
    square, squares = x @ x, np.einsum("ij,ij->j", y, y)
    known = (square > 0) & (slopes != 0) & beyond_rounding(squares / len(y), mean)
    r = np.sign(slopes) * (x @ y) / np.sqrt(np.where(known, square * squares, 1.0))
    return finite_mean(np.where(known, r, np.nan))


def _mean_logit(store: LogitStore, inputs: FitInputs, source: Basis, rows: NDArray[np.int64]) -> Floats:
    ids = inputs.source_ids(source)
    if inputs.choices[source].method == "factored":
        mean = (
            store.readout().columns(ids).weight.mean(axis=0, dtype=np.float64)
        )  # a bias moves all rows alike
        states: Floats = store.hidden(inputs.source_template, rows).astype(np.float64)
        projected: Floats = states @ mean
        return projected
    means = [block.mean(axis=1) for block in logit_blocks(store, inputs.source_template, ids, rows)]
    return np.concatenate(means)
