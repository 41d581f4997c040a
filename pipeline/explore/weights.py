"""The weights between one token and all others, from the factors of a map: no block of W is formed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.centred import centred
from lincorr.solvers.result import Factors, Floats, LinearMap

_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class ReadMap:
    """A map to be read, as fitted and with its rows centred over its own targets.

    Attributes:
        wide: the factors of the same map to every token, where it was fitted through hidden states.
    """

    fitted: LinearMap
    centred: LinearMap
    wide: Callable[[], Factors] | None

    @classmethod
    def of(cls, fitted: LinearMap, wide: Callable[[], Factors] | None) -> "ReadMap":
        """Prepare a map to be read both ways."""
        return cls(fitted, centred(fitted), wide)

    def row(self, source: int, *, every: bool, is_centred: bool) -> Floats:
        """Return a source's weights to the map's targets (q,), or to every token (V,).

        Raises:
            KeyError: the map does not have the source, or its own targets only.
        """
        read = self.centred if is_centred else self.fitted
        at = np.flatnonzero(read.source_ids == source)[:1]
        if not len(at):
            raise KeyError("the word is none of this map's sources; choose a fit of the vocabulary")
        if not every:
            return np.asarray(read.weights[at, _ALL][0])
        row = self._wide()[at, _ALL][0]
        return np.asarray(row - self._means(at)[0] if is_centred else row)

    def column(self, target: int, sources: Sequence[int] | None, *, is_centred: bool) -> Floats:
        """Return the weights of some sources, or of all (p,), to a target.

        Raises:
            KeyError: the map does not reach the target.
        """
        read = self.centred if is_centred else self.fitted
        rows = _ALL if sources is None else _positions(read.source_ids, sources)
        at = np.flatnonzero(read.target_ids == target)[:1]
        if len(at):
            return read.weights[rows, at][:, 0]
        factors = self._wide()
        right = factors.right[[target]]
        column = replace(factors, right=right)[rows, _ALL][:, 0]
        return column - self._means(rows) if is_centred else column

    def _wide(self) -> Factors:
        if self.wide is None:
            raise KeyError("the word is none of this map's targets, and the map has no others")
        return self.wide()

    def _means(self, rows: slice | NDArray[np.int64]) -> Floats:
        """The mean weight of some sources over the map's own targets."""
        weights = self.fitted.weights
        assert isinstance(weights, Factors)  # as it has wide ones
        return replace(weights, right=weights.right.mean(axis=0, keepdims=True))[rows, _ALL][:, 0]


def _positions(known: NDArray[np.int64], wanted: Sequence[int]) -> NDArray[np.int64]:
    order = np.argsort(known, kind="stable")
    return np.asarray(order[np.searchsorted(known, wanted, sorter=order)])
