"""Held-out predictions of a map and the true logits: every row, a few columns at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs

PANEL = 256
_BLOCK_BYTES = 2**28

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out rows of one source, read once for all of its maps.

    Attributes:
        states: (n, d) hidden states of source and target, where the maps go through them.
    """

    store: LogitStore
    inputs: FitInputs
    source: Basis
    states: tuple[NDArray[np.floating], NDArray[np.floating]] | None

    @classmethod
    def read(cls, store: LogitStore, inputs: FitInputs, source: Basis) -> "HeldOut":
        """Read the hidden states, if the source's maps go through them.

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        if inputs.choices[source].method != "factored":
            return cls(store, inputs, source, None)
        rows = inputs.test_rows
        h1, h2 = (store.hidden(name, rows) for name in (inputs.source_template, inputs.target_template))
        return cls(store, inputs, source, (h1, h2))

    def answers(self, fitted: LinearMap) -> Iterator[tuple[Floats, Floats]]:
        """Yield predictions and truths (n, `PANEL` at most) of the target's answers, in order."""
        if self.states is not None:
            yield from self.outputs(fitted, fitted.target_ids)
            return
        rows, inputs = self.inputs.test_rows, self.inputs
        blocks = logit_blocks(self.store, inputs.source_template, fitted.source_ids, rows)
        predicted = np.concatenate([fitted.predict(block) for block in blocks])
        true = self.store.logits(inputs.target_template, fitted.target_ids, rows)
        for start in range(0, predicted.shape[1], PANEL):
            panel = slice(start, start + PANEL)
            yield predicted[:, panel], true[:, panel].astype(np.float64)

    def outputs(
        self, fitted: LinearMap, token_ids: NDArray[np.int64], rows: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[Floats, Floats]]:
        """Yield predictions and truths of any tokens, of a map through hidden states.

        Args:
            rows: positions among the held-out rows; None is all.
        """
        assert self.states is not None
        assert fitted.hidden is not None
        some = slice(None) if rows is None else rows
        source, target = (states[some].astype(np.float64) for states in self.states)
        predicted = source @ fitted.hidden.weights + fitted.hidden.intercept
        head = self.store.readout()
        for start in range(0, len(token_ids), PANEL):
            columns = head.columns(token_ids[start : start + PANEL]).as_float64()
            yield columns.logits(predicted), columns.logits(target)


def logit_blocks(
    store: LogitStore, template: str, ids: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[Floats]:
    """Yield the float64 logits (rows, ids) of a template, a block of rows at a time."""
    size = max(1, _BLOCK_BYTES // (8 * len(ids)))
    for start in range(0, len(rows), size):
        yield store.logits(template, ids, rows[start : start + size]).astype(np.float64)
