"""Held-out predictions of a map and the true logits: every row, a few columns at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like
from lincorr.readout import Readout
from lincorr.scores.largest import largest_logits
from lincorr.solvers.result import HiddenMap, LinearMap
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.sources import SourceCache

PANEL = 256
_BLOCK_BYTES = 2**28

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out rows of one source, read once for all of its maps; panels lie where its problem does.

    Attributes:
        sources: whose device it is.
        states: (n, d) hidden states of source and target, where the maps go through them.
    """

    store: LogitStore
    inputs: FitInputs
    source: Basis
    sources: SourceCache
    states: tuple[NDArray[np.floating], NDArray[np.floating]] | None

    @classmethod
    def read(cls, store: LogitStore, inputs: FitInputs, source: Basis, sources: SourceCache) -> "HeldOut":
        """Read the hidden states, if the source's maps go through them.

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        if inputs.choices[source].method != "factored":
            return cls(store, inputs, source, sources, None)
        rows = inputs.test_rows
        h1, h2 = (store.hidden(name, rows) for name in (inputs.source_template, inputs.target_template))
        return cls(store, inputs, source, sources, (h1, h2))

    def answers(self, maps: Sequence[LinearMap]) -> Iterator[tuple[Array, list[Array]]]:
        """Yield truths (n, `PANEL` at most) of the target's answers, in order, and each map's predictions."""
        ids, rows, inputs = self.inputs.relation.target.ids, self.inputs.test_rows, self.inputs
        if self.states is not None:
            yield from self.outputs(maps, ids)
            return
        blocks = logit_blocks(self.store, inputs.source_template, inputs.source_ids(self.source), rows)
        by_block = [[fitted.predict(block) for fitted in maps] for block in blocks]
        predicted = [np.concatenate(parts) for parts in zip(*by_block, strict=True)]
        true = self.store.logits(inputs.target_template, ids, rows)
        for start in range(0, len(ids), PANEL):
            panel = slice(start, start + PANEL)
            yield self.sources.put(true[:, panel]), [self.sources.put(one[:, panel]) for one in predicted]

    def outputs(
        self, maps: Sequence[LinearMap], token_ids: NDArray[np.int64]
    ) -> Iterator[tuple[Array, list[Array]]]:
        """Yield truths of any tokens, and the predictions of each map, which goes through hidden states.

        A token's values are in one piece: they are sorted.
        """
        assert self.states is not None
        source, target = (self.sources.put(states) for states in self.states)
        head = self.store.readout()
        hidden = [(like(one.weights, source), like(one.intercept, source)) for one in _hidden(maps)]
        for start in range(0, len(token_ids), PANEL):
            columns = head.columns(token_ids[start : start + PANEL]).as_float64().beside(source)
            predicted = [_before(columns, *one) for one in hidden]
            yield columns.by_token(target).T, [one.by_token(source).T for one in predicted]

    def largest(self, maps: Sequence[LinearMap], rows: NDArray[np.int64]) -> tuple[Tokens, int, list[Tokens]]:
        """Return the token with the largest logit of all for some rows: the model's own, and each map's.

        Between them is that of the mean logits.

        Args:
            rows: positions among the held-out rows.
        """
        assert self.states is not None
        source, target = (states[rows].astype(np.float64) for states in self.states)
        states = [np.concatenate([target, target.mean(axis=0, keepdims=True)])]
        states += [source @ one.weights + one.intercept for one in _hidden(maps)]
        together = self.sources.put(np.concatenate(states))  # so that the head is read once
        found = largest_logits(self.store.readout(), together)
        own, *predicted = np.split(found, len(rows) * np.arange(1, len(states)) + 1)
        return own[:-1], int(own[-1]), predicted


def _hidden(maps: Sequence[LinearMap]) -> list[HiddenMap]:
    return [fitted.hidden for fitted in maps if fitted.hidden is not None]


def _before(head: Readout, weights: Array, intercept: Array) -> Readout:
    """Return the head that reads predictions from source states: ``(h W + b) Eᵀ = h (E Wᵀ)ᵀ + E b``."""
    bias = head.weight @ intercept
    return replace(head, weight=head.weight @ weights.T, bias=bias if head.bias is None else bias + head.bias)


def logit_blocks(
    store: LogitStore, template: str, ids: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[Floats]:
    """Yield the float64 logits (rows, ids) of a template, a block of rows at a time."""
    size = max(1, _BLOCK_BYTES // (8 * len(ids)))
    for start in range(0, len(rows), size):
        yield store.logits(template, ids, rows[start : start + size]).astype(np.float64)
