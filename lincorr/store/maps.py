"""Fitted maps and their scores, in the store of the logits that they were fitted from.

maps/<relation>/<fit>/  ids, intercept and weights (or left, core, right; or hidden_*; or tiles); diagnosis as
                        attribute
scores/<relation>       what evaluation found, as an attribute
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.readout import Readout
from lincorr.scores.documents import from_document, to_document
from lincorr.scores.relation_scores import RelationScores
from lincorr.solvers.result import (
    Diagnosis,
    Factors,
    Floats,
    HiddenMap,
    LinearMap,
    map_through,
)
from lincorr.store.chunks import MISSING_ID, checksummed, panel
from lincorr.store.diagnoses import sealed, unsealed
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy
from lincorr.store.seal import seal
from lincorr.store.tiles import StoredTiles
from lincorr.store.turn import Turn

if TYPE_CHECKING:
    import xarray

T = TypeVar("T")

_FACTORS = ("left", "core", "right")
_HIDDEN = ("weights", "intercept", "core", "source_mean")
_FORMS = (("weights", "intercept"), (*_FACTORS, "intercept"), tuple(f"hidden_{name}" for name in _HIDDEN))


class MapStore:
    """The maps and scores of a store; `turn` says who may write them."""

    def __init__(self, hierarchy: Hierarchy, readout: Callable[[], Readout]) -> None:
        self._url = hierarchy.url
        self._hierarchy = hierarchy
        self._group = hierarchy.group
        self._readout = readout
        self.turn = Turn(hierarchy)

    def relations(self) -> list[str]:
        """Relations that have maps here."""
        return self._hierarchy.names("maps")

    def fits(self, relation: str) -> list[str]:
        """Fits of which a relation has a map here, the best-reading one last."""
        return [fit for fit in self._hierarchy.names(f"maps/{relation}") if self.inputs(relation, fit)]

    def save(self, relation: str, fit: str, fitted: LinearMap, inputs: str) -> None:
        """Store a fitted map.

        Args:
            inputs: digest of all that went into it. It is written last: a map without is no map.

        Raises:
            LincorrError: another run has begun to write.
        """
        self.turn.require()
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
        group.update_attributes(sealed(fitted.diagnosis, inputs))

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

    def write_tile(self, relation: str, fit: str, i: int, j: int, tile: Floats, begun: str) -> int:
        """Write one tile of the weights, whole; return its bytes.

        Args:
            begun: of the scratch that it was made from.

        Raises:
            LincorrError: the map is now made from another: a task may outlive its run.
        """
        group = cast(Any, self._group[f"maps/{relation}/{fit}"])
        if group.attrs.get("coming") != begun:
            raise LincorrError(
                f"fit: the map {relation!r} / {fit!r} was begun anew; this task's run has ended"
            )
        array = group["tiles"]
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
        group.update_attributes(sealed(diagnosis, inputs))

    def inputs(self, relation: str, fit: str) -> str | None:
        """Return the digest of a stored map's inputs, None if there is no complete map."""
        found = self._attributes(f"maps/{relation}/{fit}").get("inputs")
        return None if found is None else str(found)

    def _attributes(self, key: str) -> dict[str, Any]:
        """The attributes of a map or result; none where it is missing or damaged."""
        try:
            return self._hierarchy.attributes(key) or {}
        except StoreDamaged:
            return {}

    def is_whole(self, relation: str, fit: str, inputs: str) -> bool:
        """Whether there is an undamaged map of these inputs; it is read whole."""
        return self.inputs(relation, fit) == inputs and self._fault_of_map(relation, fit) is None

    def verify(self) -> list[str]:
        """Read all maps and scores; return one line for each that is damaged."""
        maps = [
            self._fault_of_map(relation, fit)
            for relation in self.relations()
            for fit in self._hierarchy.names(f"maps/{relation}")
        ]
        scores = [self._fault_of_scores(name) for name in self._hierarchy.names("scores")]
        return [fault for fault in (*maps, *scores) if fault is not None]

    def _fault_of_map(self, relation: str, fit: str) -> str | None:
        key = f"maps/{relation}/{fit}"
        if (state := self._committed(key, "fit")) is not True:
            return state
        try:
            arrays, _ = self._parts(key)
            if isinstance(tiles := arrays.get("weights"), StoredTiles):
                tiles.after(np.zeros((0, tiles.shape[0])))  # reads them all
        except StoreDamaged as problem:
            return str(problem)
        return None

    def _fault_of_scores(self, name: str) -> str | None:
        state = self._committed(f"scores/{name}", "evaluate")
        if state is True:
            return None if self.score_inputs(name) else _lost(f"scores/{name}", "evaluate")
        return state

    def _committed(self, key: str, verb: str) -> str | Literal[True] | None:
        """True if there is a map or result here, None if there is none yet, a line if that cannot be read."""
        try:
            found = self._hierarchy.attributes(key)
        except StoreDamaged:
            return _lost(key, verb)
        if found is None:
            return _lost(key, verb) if self._hierarchy.names(key) else None
        return True if "inputs" in found else None

    def diagnosis(self, relation: str, fit: str) -> Diagnosis:
        """Return the diagnosis of a stored map, without its weights.

        Raises:
            BadInput: there is none.
            StoreDamaged: it is not what was written.
        """
        self._require(relation, fit)
        try:
            return unsealed(self._group[f"maps/{relation}/{fit}"].attrs)
        except READ_ERRORS as problem:
            raise self._damaged(f"maps/{relation}/{fit}", problem) from problem

    def _require(self, relation: str, fit: str) -> None:
        if self.inputs(relation, fit) is None:
            raise BadInput(f"store: {self._url!r} has no map {relation!r} / {fit!r}; run `lincorr fit` first")

    def load(
        self,
        relation: str,
        fit: str,
        target_ids: NDArray[np.int64] | None = None,
        *,
        columns: Callable[[NDArray[np.int64]], Readout] | None = None,
    ) -> LinearMap:
        """Return a stored map.

        Args:
            target_ids: other target tokens than the stored ones, which a map that was fitted through
                hidden states has for the whole vocabulary.
            columns: returns the store's output head of some tokens in float64, where many maps are loaded:
                else each map converts it.

        Raises:
            BadInput: there is none, or not for these tokens.
            StoreDamaged: it is not what was written.
        """
        self._require(relation, fit)
        try:
            arrays, diagnosis = self._parts(f"maps/{relation}/{fit}")
            if "core" in arrays:
                arrays["weights"] = Factors(*(arrays.pop(name) for name in _FACTORS))
            if "weights" in arrays:
                if target_ids is not None:
                    raise BadInput(
                        f"store: the map {relation!r} / {fit!r} has its own targets only: fitted from logits"
                    )
                return LinearMap(**arrays, diagnosis=diagnosis)
            targets = arrays["target_ids"] if target_ids is None else target_ids
            columns = columns or self._readout().columns
            return map_through(
                HiddenMap(
                    **{name: arrays[f"hidden_{name}"] for name in _HIDDEN},
                    target_head=columns(targets),
                ),
                columns(arrays["source_ids"]),
                source_ids=arrays["source_ids"],
                target_ids=targets,
                diagnosis=diagnosis,
            )
        except READ_ERRORS as problem:
            raise self._damaged(f"maps/{relation}/{fit}", problem) from problem

    def _parts(self, key: str) -> tuple[dict[str, Any], Diagnosis]:
        """The arrays of a map, read whole but for tiles, and its diagnosis; StoreDamaged if that fails."""
        try:
            group = cast(zarr.Group, self._group[key])
            diagnosis = unsealed(group.attrs)
            names = self._hierarchy.names(key)
            arrays: dict[str, Any] = {name: _array(group, name) for name in names if name != "tiles"}
            if "tiles" in names:
                arrays["weights"] = StoredTiles(group["tiles"], f"{self._url}/{key}")
            _require_parts(arrays)
            return arrays, diagnosis
        except READ_ERRORS as problem:
            raise self._damaged(key, problem) from problem

    def _damaged(self, key: str, problem: object) -> StoreDamaged:
        return StoreDamaged(
            f"store: the map in {self._url!r}, {key}, is damaged ({problem}); run `lincorr fit` to fit it "
            "again"
        )

    def save_scores(self, name: str, scores: Any, inputs: str) -> None:
        """Store a result.

        Args:
            name: a relation's, or one that no relation can have (with "--").
            scores: dataclass of `lincorr.scores`.
            inputs: digest of all that it depends on.

        Raises:
            LincorrError: another run has begun to write.
        """
        self.turn.require()
        group = self._group.create_group(f"scores/{name}", overwrite=True)
        text = json.dumps(to_document(scores))
        group.update_attributes({"scores": text, "seal": seal(text), "inputs": inputs})

    def score_inputs(self, name: str) -> str | None:
        """Return the digest of what a stored result depends on, None if there is none, or it is damaged."""
        found = self._result(name)
        return None if found is None else found[0]

    def _result(self, name: str) -> tuple[str, str] | None:
        """The digest of what a stored result depends on, and its document; None as for `score_inputs`."""
        found = self._attributes(f"scores/{name}")
        text = found.get("scores")
        if not isinstance(text, str) or found.get("seal") not in (None, seal(text)) or "inputs" not in found:
            return None
        return str(found["inputs"]), text

    def scored(self) -> list[str]:
        """Relations that have scores here."""
        names = self._hierarchy.names("scores")
        return [name for name in names if "--" not in name]  # with it: growth, matrices, edits of them

    def scores_dataset(self, relations: Sequence[str] | None = None) -> "xarray.Dataset":
        """Return the stored scores of relations, or of all that have any, as one dataset (`scores.dataset`).

        Raises:
            BadInput: a relation has none, or none has any.
        """
        from lincorr.scores.dataset import scores_dataset  # xarray brings pandas

        names = self.scored() if relations is None else relations
        if not names:
            raise BadInput(f"store: {self._url!r} has no scores; run `lincorr evaluate` first")
        return scores_dataset([self.load_scores(name, RelationScores) for name in names])

    def load_scores(self, name: str, kind: type[T]) -> T:
        """Return a stored result, a dataclass of type `kind`.

        Raises:
            BadInput: there is none, or another version of lincorr stored it.
        """
        found = self._result(name)
        if found is None:
            raise BadInput(f"store: {self._url!r} has no scores of {name!r}; run `lincorr evaluate` first")
        what = f"store: the stored result {name!r} in {self._url!r}"
        return from_document(kind, json.loads(found[1]), what, "run `lincorr evaluate` again")


def _lost(key: str, verb: str) -> str:
    return f"missing or damaged: {key}/zarr.json; run `lincorr {verb}` to compute it again"


def _require_parts(arrays: Mapping[str, Any]) -> None:
    """Refuse a map without a part, or with weights of another shape than (sources, targets)."""
    if not any({"source_ids", "target_ids", *form} <= set(arrays) for form in _FORMS):
        raise ValueError("a part is missing")
    shape = len(arrays["source_ids"]), len(arrays["target_ids"])
    if "weights" in arrays and arrays["weights"].shape != shape:
        raise ValueError(f"weights {arrays['weights'].shape} of {shape} tokens")


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
