"""Fitted maps and their scores, kept beside the logits that they were fitted from.

maps/<relation>/<fit>/  weights (or weights_left, weights_right), intercept, ids; diagnosis as attribute
scores/<relation>       what evaluation found, as an attribute
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.chunks import MISSING_ID, checksummed, panel
from lincorr.errors import BadInput, StoreDamaged
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, Factors, LinearMap, PathPoint, RidgePath, Weights
from lincorr.strict_json import finite


class MapStore:
    """The maps and scores of a store."""

    def __init__(self, url: str, group: zarr.Group) -> None:
        self._url = url
        self._group = group

    def relations(self) -> list[str]:
        """Relations that have maps here."""
        return sorted(name for name, _ in cast(zarr.Group, self._group["maps"]).groups())

    def save(self, relation: str, fit: str, fitted: LinearMap, inputs: str) -> None:
        """Keep a fitted map.

        Args:
            inputs: digest of all that went into it. It is written last: a map without is no map.
        """
        group = self._group.create_group(f"maps/{relation}/{fit}", overwrite=True)
        _save_weights(group, "weights", fitted.weights)
        if fitted.hidden_weights is not None:
            _save_weights(group, "hidden_weights", fitted.hidden_weights)
        for name in ("source_ids", "target_ids", "intercept", "hidden_intercept"):
            value = getattr(fitted, name)
            if value is not None:
                _save_array(group, name, np.asarray(value))
        group.attrs.update({"diagnosis": finite(asdict(fitted.diagnosis)), "inputs": inputs})

    def inputs(self, relation: str, fit: str) -> str | None:
        """Return the digest of a kept map's inputs, None if there is no whole map."""
        key = f"maps/{relation}/{fit}"
        found = self._group[key].attrs.get("inputs") if key in self._group else None
        return None if found is None else str(found)

    def load(self, relation: str, fit: str) -> LinearMap:
        """Return a kept map.

        Raises:
            BadInput: there is none.
            StoreDamaged: it is not what was written.
        """
        if self.inputs(relation, fit) is None:
            raise BadInput(f"store: {self._url!r} has no map {relation!r} / {fit!r}; run `lincorr fit` first")
        group = cast(zarr.Group, self._group[f"maps/{relation}/{fit}"])
        try:
            return LinearMap(
                source_ids=cast("NDArray[np.int64]", _array(group, "source_ids")),
                target_ids=cast("NDArray[np.int64]", _array(group, "target_ids")),
                weights=cast(Weights, _load_weights(group, "weights")),
                intercept=cast("NDArray[np.floating]", _array(group, "intercept")),
                diagnosis=_diagnosis(cast(Mapping[str, Any], group.attrs["diagnosis"])),
                hidden_weights=_load_weights(group, "hidden_weights"),
                hidden_intercept=_array(group, "hidden_intercept"),
            )
        except (ValueError, OSError, KeyError) as problem:
            raise StoreDamaged(
                f"store: the map {relation!r} / {fit!r} in {self._url!r} is damaged ({problem}); delete "
                f"its folder `maps/{relation}/{fit}` and run `lincorr fit` again"
            ) from problem

    def save_scores(self, relation: str, scores: Mapping[str, Any]) -> None:
        """Keep what evaluation found: JSON values."""
        group = self._group.require_group(f"scores/{relation}")
        group.attrs["scores"] = json.dumps(finite(scores))

    def load_scores(self, relation: str) -> dict[str, Any]:
        """Return what evaluation found.

        Raises:
            BadInput: nothing was kept.
        """
        key = f"scores/{relation}"
        if key not in self._group or "scores" not in self._group[key].attrs:
            raise BadInput(
                f"store: {self._url!r} has no scores of {relation!r}; run `lincorr evaluate` first"
            )
        return cast(dict[str, Any], json.loads(str(self._group[key].attrs["scores"])))


def _array(group: zarr.Group, name: str) -> NDArray[Any] | None:
    if name not in group:
        return None
    array = np.asarray(cast(Any, group[name])[...])
    if np.any(np.isnan(array) if array.dtype.kind == "f" else array == MISSING_ID):
        raise ValueError(f"a chunk of {name} is missing")
    return array


def _save_array(
    group: zarr.Group, name: str, value: NDArray[Any], chunks: tuple[int, ...] | None = None
) -> None:
    group.create_array(
        name,
        shape=value.shape,
        chunks=chunks or "auto",
        dtype=value.dtype,
        fill_value=float("nan") if value.dtype.kind == "f" else MISSING_ID,
        compressors=checksummed(),
    )[...] = value


def _save_weights(group: zarr.Group, name: str, weights: Weights) -> None:
    parts = {name: weights}
    if isinstance(weights, Factors):
        parts = {f"{name}_left": weights.left, f"{name}_right": weights.right}
    for key, value in cast("dict[str, NDArray[np.floating]]", parts).items():
        rows = panel(value.shape[0], value.shape[1] * value.dtype.itemsize)
        _save_array(group, key, value, (rows, value.shape[1]))


def _load_weights(group: zarr.Group, name: str) -> Weights | None:
    left, right = _array(group, f"{name}_left"), _array(group, f"{name}_right")
    if left is not None and right is not None:
        return Factors(left, right)
    return _array(group, name)


def _diagnosis(stored: Mapping[str, Any]) -> Diagnosis:
    path = stored["path"]
    return Diagnosis(**{**stored, "cut": Cut(**stored["cut"]), "path": None if path is None else _path(path)})


def _path(stored: Mapping[str, Any]) -> RidgePath:
    nan = float("nan")
    points = tuple(
        PathPoint(point["root_penalty"], nan if point["score"] is None else point["score"])
        for point in stored["points"]
    )
    return RidgePath(points, stored["best"], stored["reading"])
