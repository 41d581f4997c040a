"""Decomposed sources in memory, each computed once for all relations that share it.

A study fits many targets from one source prompt. The source's thin SVD is most of a fit's work and does not
depend on the target; the full vocabulary's coordinates depend on the output head alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, as_float64, to_device
from lincorr.readout import Readout
from lincorr.solvers.direct import Direct, direct
from lincorr.solvers.factored import Coordinates, Factored, coordinates_of, factored
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import FitInputs
from pipeline.plan.memory import evaluation_bytes
from pipeline.runtime.device import own_device
from pipeline.runtime.executor import ignore

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
T = TypeVar("T")

_CACHED = 2  # a relation has two sources at most: the domain's columns, and the full vocabulary


class _Latest(Generic[T]):
    """A cache of the values used last."""

    def __init__(self) -> None:
        self._values: dict[bytes, T] = {}

    def get(self, key: bytes, make: Callable[[], T]) -> T:
        """Return the value of a key, made if it is not cached."""
        known = self._values.pop(key, None)
        while len(self._values) >= _CACHED:  # before another is made: they are large
            del self._values[next(iter(self._values))]
        value = make() if known is None else known
        self._values[key] = value
        return value


class SourceCache:
    """Decomposed sources of one store; the last two of each kind are cached.

    Relations in the order of their source prompts decompose each source once. Sources live on a device, "cpu"
    or "cuda", with one target column; the output head stays on the host.
    """

    def __init__(self, store: LogitStore, device: str = "cpu") -> None:
        self._store = store
        self.device = device
        self._eps = float(np.finfo(store.identity.precision).eps)
        self._head: Readout | None = None
        self._coordinates: _Latest[Coordinates] = _Latest()
        self._direct: _Latest[Direct] = _Latest()
        self._factored: _Latest[Factored] = _Latest()

    def head(self) -> Readout:
        """Return the whole output head in float64."""
        if self._head is None:
            self._head = self._store.readout().as_float64()
        return self._head

    def direct(
        self, source: str, target: str, ids: Ids, target_ids: Ids, rows: Ids, *, rcond: float | None
    ) -> Direct:
        """Return the problem from logits of template `source` to those of `target`."""
        y = self.put(self._store.logits(target, target_ids, rows))
        identity = self._store.identity

        def make() -> Direct:
            return direct(
                self.put(self._store.logits(source, ids, rows)),
                y[:, :1],
                source_ids=ids,
                target_ids=target_ids[:1],
                storage_eps=self._eps,
                rank_limit=identity.width if identity.linear else None,
                rcond=rcond,
            )

        return self._direct.get(_key(source, ids, rows, rcond), make).with_targets(y, target_ids)

    def factored(
        self, source: str, target: str, ids: Ids, target_ids: Ids, rows: Ids, *, rcond: float | None
    ) -> Factored:
        """Return the same problem through hidden states."""
        states, head = self.put(self._store.hidden(target, rows)), self.columns(target_ids)

        def make() -> Factored:
            source_head = self.columns(ids)
            return factored(
                self.put(self._store.hidden(source, rows)),
                states[:, :1],
                source_head,
                head,
                source_ids=ids,
                target_ids=target_ids,
                storage_eps=self._eps,
                rcond=rcond,
                coordinates=self._coordinates.get(
                    _key("", ids, ids[:0], None), lambda: coordinates_of(source_head, states)
                ),
            )

        return self._factored.get(_key(source, ids, rows, rcond), make).with_targets(states, head, target_ids)

    def columns(self, ids: Ids) -> Readout:
        """Return the output head of some tokens in float64; the others' stays as it is stored."""
        if self._head is not None:
            return self._head.columns(ids)
        whole = self._store.readout()
        some = whole.columns(ids)
        return self.head() if some is whole else some.as_float64()

    def put(self, array: NDArray[np.floating]) -> Array:
        """Return a host array in float64 on the device of these sources."""
        return to_device(as_float64(array), self.device)


def device_for(relations: Sequence[FitInputs], tell: Callable[[str], None] = ignore) -> str:
    """Return "cpu" or "cuda": where this process decomposes the sources of relations, and evaluates them.

    Args:
        tell: called with a line if CuPy is installed and cannot use the GPU.
    """
    needed = evaluation_bytes(choice for inputs in relations for choice in inputs.choices.values())
    return own_device(relations[0].device, needed, tell) if needed else "cpu"


def _key(template: str, ids: Ids, rows: Ids, rcond: float | None) -> bytes:
    whole = hashlib.sha256(f"{template} {rcond} {len(ids)}".encode())
    for array in (ids, rows):
        whole.update(array.astype(np.int64).tobytes())
    return whole.digest()
