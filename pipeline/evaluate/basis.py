"""What all maps of one basis are evaluated with: computed when it is first asked for, and then shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.moments import CrossMoments
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.spectrum import Problem
from lincorr.store.store import LogitStore
from pipeline.evaluate.controls import (
    OtherPrompt,
    OtherTargets,
    ShuffledTargets,
    WithTargets,
    exchangeable,
    mean_logit_r,
    other_prompt,
    unrelated_pair,
)
from pipeline.evaluate.in_outputs import in_outputs
from pipeline.evaluate.predictions import HeldOut
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.problem import held_out_moments, set_up
from pipeline.fit.sources import SourceCache
from pipeline.prepare.relations import RelationInputs


@dataclass(frozen=True, slots=True)
class Others:
    """What serves as controls from the other relations of a run (see `pipeline.evaluate.controls`)."""

    prompt: OtherPrompt | None
    pair: OtherPrompt | None

    @classmethod
    def of(cls, store: LogitStore, inputs: FitInputs, relations: Sequence[RelationInputs]) -> "Others":
        """Choose them for one of a run's relations."""
        return cls(other_prompt(store, inputs, relations), unrelated_pair(inputs, relations))


@dataclass(frozen=True)
class EvaluatedBasis:
    """The decomposed problem and the held-out rows of one basis, shared by its maps.

    Attributes:
        counts: (replicates, rows) how often each held-out row is drawn (`lincorr.scores.bootstrap`).
    """

    store: LogitStore
    inputs: FitInputs
    basis: Basis
    others: Others
    counts: NDArray[np.uint16]
    shared: SourceCache

    @cached_property
    def problem(self) -> Problem:
        return set_up(self.store, self.inputs, self.basis, self.shared)

    @cached_property
    def exchangeable(self) -> WithTargets | None:
        return exchangeable(self.store, self.inputs, self.basis, self.problem)

    @cached_property
    def shuffled(self) -> ShuffledTargets | None:
        problem, (stated, moments) = self.exchangeable, self.stated
        if problem is self.problem and isinstance(stated, Direct | Factored):
            return ShuffledTargets(stated, moments)
        return None if problem is None else ShuffledTargets(problem, self.moments)

    @cached_property
    def moments(self) -> CrossMoments:
        return held_out_moments(self.store, self.inputs, self.basis, self.problem)

    @cached_property
    def stated(self) -> tuple[Problem, CrossMoments]:
        """Problem and moments as they are scored with least work (see `in_outputs`)."""
        return in_outputs(self.problem, self.moments)

    @cached_property
    def rows(self) -> HeldOut:
        return HeldOut.read(self.store, self.inputs, self.basis, self.shared)

    @cached_property
    def everything(self) -> Factored | None:
        """The same problem for every token as output, where there are hidden states.

        Its head is float32, as it is stored: a mean r over all tokens is off by less than 1e-6.
        """
        if not isinstance(self.problem, Factored):
            return None
        return self.problem.for_targets(self.store.readout(), np.arange(self.inputs.n_tokens))

    @cached_property
    def mean_logit(self) -> float:
        return mean_logit_r(self.store, self.inputs, self.basis)

    @cached_property
    def other_targets(self) -> OtherTargets | None:
        other = self.others.prompt
        return None if other is None else OtherTargets(self.store, other, self.basis, self.problem)

    @cached_property
    def unrelated_targets(self) -> OtherTargets | None:
        other = self.others.pair
        return None if other is None else OtherTargets(self.store, other, self.basis, self.problem)
