"""Intermediate matrices of an out-of-core fit: a Zarr v3 hierarchy in which each tile is one chunk.

A tile is written whole, atomically, by one task; an interrupted fit resumes from the tiles that exist. A
scratch belongs to one digest of inputs and is discarded when they change. A tile that was never written reads
as NaN and is refused, so only finite tiles can be written.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from lincorr.arrays import Array, to_device, to_host
from lincorr.errors import LincorrError, StoreDamaged
from lincorr.store.chunks import checksummed
from lincorr.store.hierarchy import READ_ERRORS
from lincorr.store.locations import open_location
from lincorr.store.prefetch import prefetch
from lincorr.transfers import Departure, Landing

Floats = NDArray[np.floating]


class Scratch:
    """An opened scratch. Use `begin` to start or resume a fit, `attach` in its tasks.

    Attributes:
        url: a folder or URL.
        begun: an identifier that no other scratch ever has had at this URL.
    """

    def __init__(self, url: str, group: zarr.Group, kind: str) -> None:
        self.url = url
        self.begun = str(group.attrs.get("begun", ""))
        self._group = group
        self._kind = kind
        self._arrays: dict[str, Any] = {}

    @classmethod
    def begin(cls, url: str, inputs: str, *, anew: bool = False) -> "Scratch":
        """Open the scratch at `url` if it was made from the same `inputs`, else replace it by an empty one.

        Args:
            inputs: digest of all that the matrices depend on.
            anew: replace it in any case.
        """
        if anew or cls.inputs(url) != inputs:
            group = zarr.open_group(open_location(url), mode="w", zarr_format=3)
            group.update_attributes({"inputs": inputs, "begun": uuid4().hex})
        return cls.attach(url)

    @classmethod
    def attach(cls, url: str, kind: str = "cpu") -> "Scratch":
        """Open an existing scratch; tiles are read to a device of this kind, "cpu" or "cuda"."""
        return cls(url, zarr.open_group(open_location(url), mode="r+", zarr_format=3), kind)

    @staticmethod
    def inputs(url: str) -> str | None:
        """Return the digest that the scratch at `url` was made from; None if there is no whole one."""
        try:
            found = _attributes(url).get("inputs")
        except READ_ERRORS:
            return None
        return None if found is None else str(found)

    # --- tiles ------------------------------------------------------------------------------------

    def create(
        self, name: str, shape: tuple[int, int], tile: tuple[int, int], dtype: Any = np.float64
    ) -> None:
        """Make a matrix of `shape` in tiles of `tile`, unless it exists; tiles at the edges are smaller.

        Raises:
            StoreDamaged: it exists, and what describes it is damaged.
        """
        self._arrays.pop(name, None)  # another process may have discarded it
        if self._find(name) is None:
            self._group.create_array(
                name,
                shape=shape,
                chunks=tuple(max(1, min(sides)) for sides in zip(tile, shape, strict=True)),
                dtype=dtype,
                fill_value=float("nan"),
                compressors=checksummed(),
            )

    def tiles(self, name: str) -> tuple[int, int]:
        """Return the number of tiles of a matrix down and across."""
        array = self._array(name)
        return (-(-array.shape[0] // array.chunks[0]), -(-array.shape[1] // array.chunks[1]))

    def shape(self, name: str) -> tuple[int, int]:
        """Return the shape of a matrix."""
        return cast(tuple[int, int], self._array(name).shape)

    def has(self, name: str, i: int, j: int) -> bool:
        """Whether tile (i, j) was written.

        Raises:
            StoreDamaged: what describes the matrix is damaged.
        """
        array = self._find(name)
        return array is not None and bool(
            sync((array.store_path / array.metadata.encode_chunk_key((i, j))).exists())
        )

    def write(self, name: str, i: int, j: int, tile: Array) -> int:
        """Write a whole tile from the host or a device; return its bytes.

        Raises:
            LincorrError: a value is not finite, or the scratch was replaced by another, or deleted.
        """
        host = to_host(tile)
        if not np.isfinite(host).all():
            raise LincorrError(f"fit: tile ({i}, {j}) of {name!r} has values that are not finite")
        self.require(self.begun)
        array = self._array(name)
        array[self._slices(array, i, j)] = host
        return int(host.nbytes)

    def write_behind(self, tiles: Iterable[tuple[str, int, int, Array]]) -> int:
        """Write tiles, given as their matrix, position and values; return their bytes when all are written.

        While one is copied to the host and written, the next one is made.

        Raises:
            LincorrError: a value is not finite.
        """
        leaving = ((name, i, j, Departure(tile)) for name, i, j, tile in tiles)
        return sum(prefetch(lambda one: self.write(*one[:3], one[3].to_host()), leaving))

    def read(self, name: str, i: int, j: int) -> Array:
        """Return tile (i, j) on the scratch's device, in stored precision.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        return to_device(self.read_host(name, i, j), self._kind)

    def read_ahead(self, name: str, positions: Iterable[tuple[int, int]]) -> Iterator[Array]:
        """Yield tiles as `read` returns them; while one is used, the next is read and copied to the device.

        Three tiles are on the device at most: the one that is used until the next is asked for, that one, and
        the place for another.

        Raises:
            StoreDamaged: one is missing or damaged.
        """
        return (tile for [tile] in self._ahead(name, ([position] for position in positions)))

    def rows_ahead(self, name: str, down: Iterable[int], across: Sequence[int]) -> Iterator[list[Array]]:
        """Yield rows of tiles, those of some columns side by side, in the same way."""
        return self._ahead(name, ([(i, j) for j in across] for i in down))

    def landing(self, shape: tuple[int, ...], dtype: Any) -> Landing:
        """Return a place on the scratch's device, to which another thread can copy a host array."""
        return Landing(shape, dtype, self._kind)

    def put(self, host: Floats) -> Array:
        """Return a host array in float64 on the scratch's device."""
        return to_device(host.astype(np.float64, copy=False), self._kind)

    def read_host(self, name: str, i: int, j: int) -> Floats:
        """Return tile (i, j) on the host, in stored precision.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        array = self._array(name)
        try:
            tile: Floats = np.asarray(array[self._slices(array, i, j)])
        except READ_ERRORS as problem:
            raise self._lost(f"tile ({i}, {j}) of {name!r}", f"damaged ({problem})") from problem
        if tile.size and math.isnan(float(tile[0, 0])):  # a written tile has no NaN
            raise self._lost(f"tile ({i}, {j}) of {name!r}", "missing")
        return tile

    # --- whole matrices ---------------------------------------------------------------------------

    def save(self, name: str, matrix: Array) -> None:
        """Store a matrix as one tile; a vector becomes one row.

        Raises:
            LincorrError: a value is not finite.
        """
        whole = np.atleast_2d(to_host(matrix))
        self.create(name, whole.shape, whole.shape, whole.dtype)
        self.write(name, 0, 0, whole)

    def load(self, name: str) -> Array:
        """Return a whole matrix on the scratch's device.

        Raises:
            StoreDamaged: a tile is missing or damaged.
        """
        return to_device(self.load_host(name), self._kind)

    def load_host(self, name: str) -> Floats:
        """Return a whole matrix on the host.

        Raises:
            StoreDamaged: a tile is missing or damaged.
        """
        down, across = self.tiles(name)
        if (down, across) == (1, 1):
            return self.read_host(name, 0, 0)
        array = self._array(name)
        whole: Floats = np.empty(array.shape, array.dtype)
        for i in range(down):
            for j in range(across):
                whole[self._slices(array, i, j)] = self.read_host(name, i, j)
        return whole

    def remember(self, **facts: Any) -> None:
        """Store JSON values beside the matrices."""
        self._group.attrs["facts"] = self.facts() | facts

    def facts(self) -> dict[str, Any]:
        """Return the stored JSON values, also those that other processes have stored meanwhile."""
        return _facts(_attributes(self.url))

    @staticmethod
    def facts_of(url: str, begun: str) -> dict[str, Any]:
        """Return the JSON values of the scratch that `begun` identifies: a task may outlive its run.

        Raises:
            LincorrError: it was replaced, or deleted.
        """
        try:
            found = _attributes(url)
        except READ_ERRORS:
            found = {}
        if found.get("begun") != begun:
            raise LincorrError(f"fit: {url!r} was begun anew or deleted since; this task's run has ended")
        return _facts(found)

    def require(self, begun: str) -> None:
        """Refuse another scratch than that which `begun` identifies.

        Raises:
            LincorrError: this one was replaced, or deleted.
        """
        self.facts_of(self.url, begun)

    def discard(self, name: str) -> None:
        """Delete a matrix, if it exists."""
        if self._find(name) is not None:
            del self._group[name]
        self._arrays.pop(name, None)

    # --- inside -----------------------------------------------------------------------------------

    def _array(self, name: str) -> Any:
        array = self._find(name)
        if array is None:
            raise self._lost(repr(name), "missing")
        return array

    def _find(self, name: str) -> Any | None:
        """A matrix, opened once; None if there is none."""
        if name not in self._arrays:
            try:
                self._arrays[name] = self._group[name]
            except KeyError:
                return None
            except READ_ERRORS as problem:
                raise self._lost(repr(name), f"damaged ({problem})") from problem
        return self._arrays[name]

    def _ahead(self, name: str, groups: Iterable[list[tuple[int, int]]]) -> Iterator[list[Array]]:
        """Yield groups of tiles; a group's places are made here, and filled on the thread that reads."""
        array = self._array(name)

        def read(group: list[tuple[tuple[int, int], Landing]]) -> list[Array]:
            return [place.fill(self.read_host(name, *position)) for position, place in group]

        return prefetch(
            read,
            (
                [((i, j), self.landing(self._tile_shape(array, i, j), array.dtype)) for i, j in group]
                for group in groups
            ),
        )

    def _lost(self, what: str, how: str) -> StoreDamaged:
        return StoreDamaged(
            f"fit: {what} in {self.url!r} is {how}; delete this folder and run `lincorr fit` again"
        )

    @classmethod
    def _tile_shape(cls, array: Any, i: int, j: int) -> tuple[int, int]:
        rows, columns = cls._slices(array, i, j)
        return rows.stop - rows.start, columns.stop - columns.start

    @staticmethod
    def _slices(array: Any, i: int, j: int) -> tuple[slice, slice]:
        (height, width), (rows, columns) = array.chunks, array.shape
        return (
            slice(i * height, min((i + 1) * height, rows)),
            slice(j * width, min((j + 1) * width, columns)),
        )


def _attributes(url: str) -> Mapping[str, Any]:
    """Read the attributes of the scratch at `url`: one look at its location."""
    return zarr.open_group(open_location(url), mode="r", zarr_format=3).attrs


def _facts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return dict(cast(Mapping[str, Any], attributes.get("facts", {})))
