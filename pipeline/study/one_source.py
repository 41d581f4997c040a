"""One source, many targets: once it is decomposed, fits to any prompt's answers are matrix products.

A relation's own fits go through hidden states on both sides, so that their maps have any target token. Where
only scores of the answers are asked for, the targets may be the answers' logits: q columns instead of d.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, as_float64, like, to_host
from lincorr.scores.moments import Correlation, deviation, finite_mean
from lincorr.scores.relation_scores import Figure
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.spectrum import coefficients, ridge_path
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.problem import set_up
from pipeline.fit.sources import SourceCache

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """The logits of a prompt's answers, in stored precision.

    Attributes:
        ids: (q,) token ids.
        fit, test: (n, q) and (m, q) of the rows to fit and of those held out.
    """

    ids: NDArray[np.int64]
    fit: NDArray[np.floating]
    test: NDArray[np.floating]

    @classmethod
    def read(cls, store: LogitStore, template: str, ids: NDArray[np.int64], inputs: FitInputs) -> "Answers":
        """Read the answers of the rows that `inputs` name.

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        fit, test = (store.logits(template, ids, rows) for rows in (inputs.fit_rows, inputs.test_rows))
        return cls(ids, fit, test)


@dataclass(frozen=True, slots=True)
class Solution:
    """A fit of some answers.

    Attributes:
        root_penalty: √λ/σ₁.
        r: (q,) held-out Pearson r of each answer; NaN where predictions or truths do not vary.
        coefficients: (k, q) in the source's coordinates.
    """

    root_penalty: float
    r: Floats
    coefficients: Floats

    @property
    def mean_r(self) -> float:
        """The mean r of the answers that have one; NaN where none has."""
        return finite_mean(self.r)

    @property
    def std_r(self) -> Figure:
        """The standard deviation of these r; None of fewer than two."""
        return deviation(self.r)


@dataclass(frozen=True, slots=True)
class OneSource:
    """A source's decomposed rows, and its held-out rows in the same coordinates.

    Attributes:
        problem: whose targets are exchanged.
        held_out: (m, k).
        lift: (p, k) from coefficients to the rows of W of the domain's p answers, where they go through
            hidden states; else
        rows: (p,) which of the coefficients they are.
    """

    problem: Direct
    held_out: Array
    lift: Floats | None
    rows: NDArray[np.int64]

    @classmethod
    def read(cls, store: LogitStore, inputs: FitInputs, source: Basis, shared: SourceCache) -> "OneSource":
        """Decompose a source that fits into memory (see `fits`).

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        found = set_up(store, inputs, source, shared)
        name, rows, ids = inputs.source_template, inputs.test_rows, inputs.relation.source.ids
        if isinstance(found, Factored):
            held_out = like(as_float64(store.hidden(name, rows)), found.targets) @ found.to_coordinates
            lift = shared.columns(ids).scaled @ to_host(found.from_coordinates)
            targets = (found.targets, found.projected, found.target_mean)
            problem = Direct(ids, found.target_ids, found.spectrum, *targets)
            return cls(problem, held_out, lift, np.arange(len(ids)))
        assert isinstance(found, Direct)
        held_out = like(as_float64(store.logits(name, found.source_ids, rows)), found.targets)
        return cls(found, held_out, None, np.arange(len(ids)) if source == "domain" else ids)

    def solve(self, answers: Answers, root_penalties: tuple[float | None, ...]) -> list[Solution]:
        """Fit and score answers at each penalty; None has it chosen by leave-one-out, for reading."""
        fit, truth = (like(as_float64(part), self.held_out) for part in (answers.fit, answers.test))
        problem = self.problem.with_targets(fit, answers.ids)
        found = []
        for asked in root_penalties:
            root = ridge_path(problem).reading if asked is None else asked
            solved = coefficients(problem, root)
            predicted = (self.held_out - problem.spectrum.mean) @ solved + problem.target_mean
            r = Correlation.of(predicted, truth).pearson()
            found.append(Solution(root, to_host(r), to_host(solved)))
        return found

    def weights(self, solution: Solution) -> Floats:
        """Return W (p, q) of the domain's answers."""
        if self.lift is None:
            return solution.coefficients[self.rows]
        weights: Floats = self.lift @ solution.coefficients
        return weights


def fits(inputs: FitInputs, source: Basis) -> bool:
    """Whether a source is decomposed in memory, so that its targets can be exchanged."""
    return source in inputs.choices and not inputs.choices[source].out_of_core
