"""A problem through hidden states, stated in its outputs where these are fewer: less is to be multiplied."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.spectrum import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class InOutputs(Direct):
    """The problem from a source's coordinates to outputs; its solutions are those of the other, read out.

    Attributes:
        through: the problem through hidden states.
    """

    through: Factored

    def rows(self, coefficients: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q)."""
        return self.through.source_rows(positions) @ coefficients


def in_outputs(problem: Problem, moments: CrossMoments) -> tuple[Problem, CrossMoments]:
    """State a problem and the moments of its held-out rows in its outputs, if these are fewer.

    The result's maps and certificates are not those of the problem; its scores and rows of W are.
    """
    if not isinstance(problem, Factored) or len(problem.target_ids) >= problem.targets.shape[1]:
        return problem, moments
    stated = moments.through(problem.to_coordinates, problem.readout, problem.offset)
    turned = problem.readout.T
    mean, offset = problem.target_mean @ turned, problem.offset
    direct = InOutputs(
        source_ids=problem.source_ids,
        target_ids=problem.target_ids,
        spectrum=problem.spectrum,
        targets=problem.targets @ turned,
        projected=problem.projected @ turned,
        target_mean=mean if offset is None else mean + offset,
        through=problem,
    )
    return direct, stated
