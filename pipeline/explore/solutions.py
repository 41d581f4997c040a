"""Every penalty of a decomposed problem, at the price of one product with a diagonal.

With the thin SVD ``U diag(s) Vᵀ`` of a source, ``W(λ) = L diag(s / (s² + λ)) Rᵀ``: only the diagonal depends
on λ. L is V and R is ``Yᵀ U``; through hidden states ``L = E1 A`` and ``R = E2 Bᵀ``, head rows times small
matrices A (d, r) and Bᵀ (d, r) (`lincorr.solvers.factored`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lincorr.readout import Readout
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.reduced import Reduced
from lincorr.solvers.result import Diagnosis, Factors, Floats, LinearMap
from lincorr.solvers.spectrum import Problem, penalty_of
from pipeline.explore.weights import ReadMap


@dataclass(frozen=True, slots=True)
class Solutions:
    """The factors of W that do not depend on the penalty.

    Attributes:
        values: s (r,).
        left, inner: (p, k) and (k, r), whose product is L; `inner` is None where `left` is L.
        right: R (q, r).
        hidden, head: B (r, d) and the whole output head, where the map reaches every token through them.
    """

    problem: Problem
    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    values: Floats
    left: Floats
    inner: Floats | None
    right: Floats
    hidden: Floats | None = None
    head: Readout | None = None

    @classmethod
    def of(cls, problem: Problem, head: Callable[[], Readout]) -> "Solutions":
        """Prepare a problem that is decomposed in memory or out of core.

        Raises:
            TypeError: it is solved for one penalty.
        """
        if isinstance(problem, Factored):
            s, V, B = problem.spectrum.values, problem.spectrum.right, problem.projected
            A, left, right = problem.from_coordinates @ V, problem.source_head.scaled, problem.readout @ B.T
            return cls(problem, problem.source_ids, problem.target_ids, s, left, A, right, B, head())
        if isinstance(problem, Direct):
            s, V, B = problem.spectrum.values, problem.spectrum.right, problem.projected
            return cls(problem, problem.source_ids, problem.target_ids, s, V, None, B.T)
        if isinstance(problem, Reduced):
            s, V, B = problem.values, problem.basis, problem.projected
            return cls(problem, problem.source_ids, problem.target_ids, s, V, None, B.T)
        raise TypeError(f"{problem.method} is solved for one penalty")

    def at(self, root_penalty: float) -> ReadMap:
        """Return the map for a penalty, given as √λ/σ₁.

        Raises:
            BadInput: it is negative.
        """
        penalty = penalty_of(self.problem, root_penalty)
        shrunk = self.values / (self.values**2 + penalty)
        core = np.diag(shrunk) if self.inner is None else self.inner * shrunk[None, :]
        weights = Factors(self.left, core, self.right)
        diagnosis = _diagnosis(
            self.problem.method, self.problem.n_rows, self.problem.cut, penalty, root_penalty
        )
        nothing = np.zeros(len(self.target_ids))  # weights are read, nothing is predicted
        fitted = LinearMap(self.source_ids, self.target_ids, weights, nothing, diagnosis)
        hidden, head = self.hidden, self.head
        if hidden is None or head is None:
            return ReadMap.of(fitted, None)
        return ReadMap.of(fitted, cache(lambda: Factors(self.left, core @ hidden, head.scaled)))


def _diagnosis(method: str, n_rows: int, cut: Cut, penalty: float, root_penalty: float) -> Diagnosis:
    nan = float("nan")
    return Diagnosis(method, "", n_rows, cut, penalty, root_penalty, nan, nan)
