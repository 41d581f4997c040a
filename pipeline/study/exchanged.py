"""Maps of several relations in one source space, so that each can be applied to the others' rows.

Maps through hidden states have these as source space. Others (dense, as factors, in tiles) have the columns
of their source, or, where these are more, what all of them together predict: no map uses more of a source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import as_float64
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.centred import centred
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs, basis_of
from pipeline.fit.sources import SourceCache
from pipeline.plan.memory import held_out_rows

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ExchangedMaps:
    """The stored maps of one fit, of relations whose sources may be exchanged.

    Reading them raises StoreDamaged where a row or a map is missing or damaged.

    Attributes:
        members: the relations; those of answers' columns have the same.
        shared: the store's output head.
    """

    store: LogitStore
    fit: str
    members: Sequence[FitInputs]
    shared: SourceCache

    @property
    def basis(self) -> Basis:
        """What the maps have as source columns."""
        return basis_of(self.fit)

    @cached_property
    def space(self) -> Literal["states", "columns", "predictions"]:
        """What the source space is."""
        if all(one.choices[self.basis].method == "factored" for one in self.members):
            return "states"
        return "columns" if len(self.columns) < self._predictions else "predictions"

    @cached_property
    def columns(self) -> Ids:
        """(p,) token ids of their source columns."""
        return self.members[0].source_ids(self.basis)

    @property
    def width(self) -> int:
        """k, the dimension of the source space."""
        states, columns = self.store.identity.width, len(self.columns)
        return {"states": states, "columns": columns, "predictions": self._predictions}[self.space]

    @property
    def _predictions(self) -> int:
        return sum(len(one.relation.target) for one in self.members)

    @cached_property
    def weights(self) -> list[Floats]:
        """Each map in the source space (k, q)."""
        return [self._weights(number) for number in range(len(self.members))]

    def _weights(self, number: int) -> Floats:
        if self.space == "predictions":
            counts = [len(one.relation.target) for one in self.members]
            start = sum(counts[:number])
            return np.eye(self.width)[:, start : start + counts[number]]
        fitted = self.load(number)
        if self.space == "states":
            assert fitted.hidden is not None
            return as_float64(fitted.hidden.weights @ fitted.hidden.target_head.scaled.T)
        return as_float64(fitted.block(self.columns.tolist(), fitted.target_ids.tolist()))

    def read(self, number: int, of: Sequence[FitInputs]) -> list[NDArray[np.floating]]:
        """Return the centred rows of W (p, q) of a member's map at the sources of each of some relations."""
        fitted = centred(self.load(number))
        targets = fitted.target_ids.tolist()
        return [fitted.block(one.relation.source.ids.tolist(), targets) for one in of]

    @cached_property
    def fitted(self) -> list[CrossMoments]:
        """The moments of each relation's fitted rows: its source in the source space, and its targets."""
        return [self._moments(one, one.fit_rows) for one in self.members]

    @cached_property
    def held_out(self) -> list[CrossMoments]:
        """The same of those held out."""
        return [self._moments(one, one.test_rows) for one in self.members]

    def _moments(self, of: FitInputs, rows: Ids) -> CrossMoments:
        size = held_out_rows(None if self.space == "states" else len(self.columns), of.memory_bytes)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        target, ids = of.target_template, of.relation.target.ids
        blocks = (
            CrossMoments.of(source, as_float64(self.store.logits(target, ids, part)))
            for part, source in zip(parts, self._source(of.source_template, parts), strict=True)
        )
        return reduce(CrossMoments.merge, blocks)

    def _source(self, template: str, parts: Sequence[Ids]) -> Iterator[Floats]:
        """Yield blocks of a template's rows in the source space (rows, k)."""
        if self.space == "states":
            yield from (as_float64(self.store.hidden(template, part)) for part in parts)
            return
        blocks = (as_float64(self.store.logits(template, self.columns, part)) for part in parts)
        if self.space == "columns":
            yield from blocks
            return
        maps = [self.load(number) for number in range(len(self.members))]
        for logits in blocks:
            yield np.concatenate([fitted.predict(logits) for fitted in maps], axis=1)

    def load(self, number: int) -> LinearMap:
        """Return the stored map of a member."""
        return self.store.maps.load(self.members[number].relation.name, self.fit, columns=self.shared.columns)
