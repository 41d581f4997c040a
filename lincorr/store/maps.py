"""Fitted maps and their scores, in the store of the logits that they were fitted from.

maps/<relation>/<fit>/  ids, intercept and weights (or left, core, right; or hidden_*; or tiles); diagnosis as
                        attribute
scores/<relation>       what evaluation found, as an attribute
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

import numpy as np
import xarray
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, StoreDamaged
from lincorr.readout import Readout
from lincorr.scores.dataset import scores_dataset
from lincorr.scores.documents import from_document, to_document, to_json
from lincorr.scores.relation_scores import RelationScores
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import (
    Diagnosis,
    Factors,
    Floats,
    HiddenMap,
    LinearMap,
    PathPoint,
    RidgePath,
    map_through,
)
from lincorr.store.chunks import MISSING_ID, checksummed, panel

T = TypeVar("T")

_FACTORS = ("left", "core", "right")
_HIDDEN = ("weights", "intercept", "core", "source_mean")


class StoredTiles:
    """Dense weights that stay on disk: only the tiles of what is asked for are read."""

    def __init__(self, array: Any, where: str) -> None:
        self._array = array
        self._where = where

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return cast(tuple[int, int], self._array.shape)

    def __getitem__(self, index: tuple[Any, Any]) -> Floats:
        """Return the block of rows and columns, given as integer arrays or slices.

        Raises:
            StoreDamaged: a tile is missing or damaged.
        """
        try:
            block: Floats = np.asarray(self._array.oindex[index])
            if not np.isnan(block).any():
                return block
            reason = "a tile is missing"
        except (ValueError, OSError, RuntimeError) as problem:
            reason = str(problem)
        raise StoreDamaged(
            f"store: the weights in {self._where!r} are damaged ({reason}); delete this folder and run "
            "`lincorr fit` again"
        )

    def after(self, logits: Floats) -> Floats:
        """Return ``logits @ W`` (n, q), a panel of rows of W at a time."""
        height = self._array.chunks[0]
        total = np.zeros((len(logits), self.shape[1]))
        for start in range(0, self.shape[0], height):
            rows = slice(start, min(start + height, self.shape[0]))
            total += logits[:, rows] @ self[rows, slice(None)]
        return total


class MapStore:
    """The maps and scores of a store."""

    def __init__(self, url: str, group: zarr.Group, readout: Callable[[], Readout]) -> None:
        self._url = url
        self._group = group
        self._readout = readout

    def relations(self) -> list[str]:
        """Relations that have maps here."""
        return sorted(name for name, _ in cast(zarr.Group, self._group["maps"]).groups())

    def save(self, relation: str, fit: str, fitted: LinearMap, inputs: str) -> None:
        """Store a fitted map.

        Args:
            inputs: digest of all that went into it. It is written last: a map without is no map.
        """
        group = self._group.create_group(f"maps/{relation}/{fit}", overwrite=True)
        weights = fitted.weights
        arrays: dict[str, NDArray[Any]] = {"source_ids": fitted.source_ids, "target_ids": fitted.target_ids}
        if fitted.hidden is not None:
            arrays |= {f"hidden_{name}": getattr(fitted.hidden, name) for name in _HIDDEN}
        elif isinstance(weights, Factors):
            arrays |= {name: getattr(weights, name) for name in _FACTORS} | {"intercept": fitted.intercept}
        else:
            arrays |= {"weights": np.asarray(weights), "intercept": fitted.intercept}
        for name, value in arrays.items():
            _save_array(group, name, value)
        group.attrs.update({"diagnosis": to_json(asdict(fitted.diagnosis)), "inputs": inputs})

    def create_tiles(self, relation: str, fit: str, shape: tuple[int, int], tile: int, begun: str) -> bool:
        """Create the array of a map whose weights (p, q) come tile by tile.

        Args:
            begun: identifies the scratch that knows which tiles are there, and how they are cut.

        Returns whether the array was there already, for the same scratch: its tiles stay.
        """
        key = f"maps/{relation}/{fit}"
        if key in self._group and self._group[key].attrs.get("coming") == begun:
            return True
        group = self._group.create_group(key, overwrite=True)
        group.create_array(
            "tiles",
            shape=shape,
            chunks=(min(tile, shape[0]), min(tile, shape[1])),
            dtype=np.float64,
            fill_value=float("nan"),
            compressors=checksummed(),
        )
        group.attrs["coming"] = begun
        return False

    def write_tile(self, relation: str, fit: str, i: int, j: int, tile: Floats) -> int:
        """Write one tile of the weights, whole; return its bytes."""
        array = cast(Any, self._group[f"maps/{relation}/{fit}/tiles"])
        height, width = array.chunks
        rows, columns = tile.shape
        array[i * height : i * height + rows, j * width : j * width + columns] = tile
        return int(tile.nbytes)

    def finish_tiles(
        self,
        relation: str,
        fit: str,
        *,
        source_ids: NDArray[np.int64],
        target_ids: NDArray[np.int64],
        intercept: Floats,
        diagnosis: Diagnosis,
        inputs: str,
    ) -> None:
        """Make a map of tiles that are all written."""
        group = cast(zarr.Group, self._group[f"maps/{relation}/{fit}"])
        arrays = {"source_ids": source_ids, "target_ids": target_ids, "intercept": intercept}
        for name, value in arrays.items():
            _save_array(group, name, value)
        group.attrs.update({"diagnosis": to_json(asdict(diagnosis)), "inputs": inputs})

    def inputs(self, relation: str, fit: str) -> str | None:
        """Return the digest of a stored map's inputs, None if there is no complete map."""
        key = f"maps/{relation}/{fit}"
        found = self._group[key].attrs.get("inputs") if key in self._group else None
        return None if found is None else str(found)

    def load(
        self,
        relation: str,
        fit: str,
        target_ids: NDArray[np.int64] | None = None,
        *,
        head: Readout | None = None,
    ) -> LinearMap:
        """Return a stored map.

        Args:
            target_ids: other target tokens than the stored ones, which a map that was fitted through
                hidden states has for the whole vocabulary.
            head: the store's output head in float64, where many maps are loaded: else each map converts it.

        Raises:
            BadInput: there is none, or not for these tokens.
            StoreDamaged: it is not what was written.
        """
        if self.inputs(relation, fit) is None:
            raise BadInput(f"store: {self._url!r} has no map {relation!r} / {fit!r}; run `lincorr fit` first")
        group = cast(zarr.Group, self._group[f"maps/{relation}/{fit}"])
        try:
            arrays: dict[str, Any] = {
                name: _array(group, name) for name in group.array_keys() if name != "tiles"
            }
            diagnosis = _diagnosis(cast(Mapping[str, Any], group.attrs["diagnosis"]))
            if "tiles" in group:
                arrays["weights"] = StoredTiles(group["tiles"], f"{self._url}/maps/{relation}/{fit}")
            if "core" in arrays:
                arrays["weights"] = Factors(*(arrays.pop(name) for name in _FACTORS))
            if "weights" in arrays:
                if target_ids is not None:
                    raise BadInput(
                        f"store: the map {relation!r} / {fit!r} has its own targets only: fitted from logits"
                    )
                return LinearMap(**arrays, diagnosis=diagnosis)
            targets = arrays["target_ids"] if target_ids is None else target_ids
            head = head or self._readout()
            return map_through(
                HiddenMap(
                    **{name: arrays[f"hidden_{name}"] for name in _HIDDEN},
                    target_head=head.columns(targets),
                ),
                head.columns(arrays["source_ids"]),
                source_ids=arrays["source_ids"],
                target_ids=targets,
                diagnosis=diagnosis,
            )
        except (ValueError, OSError, KeyError, TypeError) as problem:
            raise StoreDamaged(
                f"store: the map {relation!r} / {fit!r} in {self._url!r} is damaged ({problem}); delete "
                f"its folder `maps/{relation}/{fit}` and run `lincorr fit` again"
            ) from problem

    def save_scores(self, name: str, scores: Any, inputs: str) -> None:
        """Store a result.

        Args:
            name: a relation's, or one that no relation can have (with "--").
            scores: dataclass of `lincorr.scores`.
            inputs: digest of all that it depends on.
        """
        group = self._group.require_group(f"scores/{name}")
        group.attrs.update({"scores": json.dumps(to_document(scores)), "inputs": inputs})

    def score_inputs(self, name: str) -> str | None:
        """Return the digest of what a stored result depends on, None if there is none."""
        key = f"scores/{name}"
        found = self._group[key].attrs.get("inputs") if key in self._group else None
        return None if found is None else str(found)

    def scored(self) -> list[str]:
        """Relations that have scores here."""
        names = sorted(name for name, _ in cast(zarr.Group, self._group["scores"]).groups())
        return [name for name in names if "--" not in name]  # with it: growth, matrices, edits of them

    def scores_dataset(self, relations: Sequence[str] | None = None) -> xarray.Dataset:
        """Return the stored scores of relations, or of all that have any, as one dataset (`scores.dataset`).

        Raises:
            BadInput: a relation has none, or none has any.
        """
        names = self.scored() if relations is None else relations
        if not names:
            raise BadInput(f"store: {self._url!r} has no scores; run `lincorr evaluate` first")
        return scores_dataset([self.load_scores(name, RelationScores) for name in names])

    def load_scores(self, name: str, kind: type[T]) -> T:
        """Return a stored result, a dataclass of type `kind`.

        Raises:
            BadInput: there is none, or another version of lincorr stored it.
        """
        if self.score_inputs(name) is None:
            raise BadInput(f"store: {self._url!r} has no scores of {name!r}; run `lincorr evaluate` first")
        stored = json.loads(str(self._group[f"scores/{name}"].attrs["scores"]))
        what = f"store: the stored result {name!r} in {self._url!r}"
        return from_document(kind, stored, what, "run `lincorr evaluate` again")


def _array(group: zarr.Group, name: str) -> NDArray[Any]:
    array = np.asarray(cast(Any, group[name])[...])
    if np.any(np.isnan(array) if array.dtype.kind == "f" else array == MISSING_ID):
        raise ValueError(f"a chunk of {name} is missing")
    return array


def _save_array(group: zarr.Group, name: str, value: NDArray[Any]) -> None:
    row_bytes = value.itemsize * (value.shape[1] if value.ndim == 2 else 1)
    group.create_array(
        name,
        shape=value.shape,
        chunks=(panel(value.shape[0], row_bytes), *value.shape[1:]),
        dtype=value.dtype,
        fill_value=float("nan") if value.dtype.kind == "f" else MISSING_ID,
        compressors=checksummed(),
        overwrite=True,  # half of a map may be there
    )[...] = value


def _diagnosis(stored: Mapping[str, Any]) -> Diagnosis:
    path = stored["path"]
    known: dict[str, Any] = {name: float("nan") if v is None else v for name, v in stored.items()}
    known |= {"cut": Cut(**stored["cut"]), "path": None if path is None else _path(path)}
    return Diagnosis(**known)


def _path(stored: Mapping[str, Any]) -> RidgePath:
    nan = float("nan")
    points = tuple(
        PathPoint(point["root_penalty"], nan if point["score"] is None else point["score"])
        for point in stored["points"]
    )
    return RidgePath(points, stored["best"], stored["reading"])
