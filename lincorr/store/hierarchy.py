"""What the parts of a store share: the opened Zarr group, the store's attributes, and its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.store.chunks import MISSING_ID
from lincorr.store.identity import Identity
from lincorr.store.locations import is_remote, open_location, require_bucket
from lincorr.store.seal import seal
from lincorr.text import MISSING_TEXT

# What Zarr raises for a chunk, or a zarr.json, that is damaged or missing.
READ_ERRORS = (ValueError, OSError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError)


def opened_group(url: str, mode: Literal["r", "r+"]) -> zarr.Group | None:
    """Open the root group of the store at a folder or URL; None if there is no lincorr store.

    Raises:
        BadInput: the location cannot be opened, or there is no such bucket.
        LincorrError: the server of an object store does not answer, or denies access.
    """
    try:
        if not is_remote(url) and not Path(url).is_dir():
            return None  # to write, Zarr would make the folder
        group = zarr.open_group(open_location(url), mode=mode, zarr_format=3)
    except FileNotFoundError:
        require_bucket(url)
        return None
    except LincorrError:
        raise
    except Exception as problem:
        raise BadInput(f"store: {url!r} cannot be opened ({problem})") from problem
    return group if "lincorr" in group.attrs else None


class Hierarchy:
    """An opened Zarr group of a store.

    Attributes:
        url: a folder or URL, as it was given.
        group: the root group.
    """

    def __init__(self, url: str, group: zarr.Group) -> None:
        self.url = url
        self.group = group
        self._arrays: dict[str, Any] = {}

    # --- attributes -------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what the store's attributes say: format, identity, number of subjects, settings."""
        return dict(cast(Mapping[str, Any], self.group.attrs["lincorr"]))

    def update_state(self, **changes: Any) -> None:
        """Replace some of the attributes by JSON values."""
        self.group.attrs["lincorr"] = self.state() | changes

    @property
    def identity(self) -> Identity:
        """What the store was made with.

        Raises:
            StoreDamaged: it is not what was written.
        """
        state = self.state()
        try:
            identity = Identity.from_json(state["identity"])
            if state.get("seal") not in (None, seal(state["identity"])):  # older stores have none
                raise ValueError("it was changed")
        except READ_ERRORS as problem:
            raise self._not_as_written("identity", problem) from problem
        return identity

    @property
    def n_subjects(self) -> int:
        """Number of subjects in the store.

        Raises:
            StoreDamaged: it is none.
        """
        found = self.state().get("n_subjects")
        if type(found) is not int or found < 0:
            raise self._not_as_written("n_subjects", f"it is {found!r}")
        return found

    def _not_as_written(self, what: str, problem: object) -> StoreDamaged:
        return StoreDamaged(
            f"store: {what} in zarr.json of {self.url!r} is not what was written ({problem}); restore that "
            "file from a copy, or extract into another store"
        )

    # --- nodes ------------------------------------------------------------------------------------

    def names(self, key: str) -> list[str]:
        """Return the names of the folders in a group, in order, whether or not they can be read.

        None of ours begins with a dot, as those do that file managers leave (.DS_Store).
        """

        async def listed() -> list[str]:
            return [name async for name in self.group.store.list_dir(key)]

        return sorted(name for name in sync(listed()) if name != "zarr.json" and name[0] != ".")

    def attributes(self, key: str) -> dict[str, Any] | None:
        """Return the attributes of a group or array; None where there is none.

        Raises:
            StoreDamaged: its zarr.json is damaged.
        """
        try:
            return dict(self.group[key].attrs)
        except KeyError:
            return None
        except READ_ERRORS as problem:
            raise self._undescribed(key, problem) from problem

    def forget_description(self, key: str) -> None:
        """Delete the zarr.json of a node, and nothing else of it."""
        self.close_arrays()
        sync(self.group.store.delete(f"{key}/zarr.json"))

    def _undescribed(self, key: str, problem: object) -> StoreDamaged:
        return StoreDamaged(
            f"store: {key}/zarr.json in {self.url!r} is missing or damaged ({problem}); run `lincorr "
            "extract` to write it anew, or restore it from a copy"
        )

    # --- arrays -----------------------------------------------------------------------------------

    def array(self, key: str) -> Any:
        """Return an array, opened once: opening it takes longer than reading one of its chunks.

        Raises:
            StoreDamaged: its zarr.json is missing or damaged.
        """
        if key not in self._arrays:
            try:
                found = self.group[key]
            except READ_ERRORS as problem:
                raise self._undescribed(key, problem) from problem
            if not isinstance(found, zarr.Array):
                raise self._undescribed(key, "it is of a group")
            self._arrays[key] = found
        return self._arrays[key]

    def close_arrays(self) -> None:
        """Forget the opened arrays, since some are about to be replaced."""
        self._arrays.clear()

    def table(self, key: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Return consecutive rows of a one-dimensional table, or all of them.

        Raises:
            StoreDamaged: a row is damaged or missing.
        """
        try:
            table = np.asarray(self.array(key)[rows])
            missing = bool(np.any(table == (MISSING_ID if table.dtype.kind == "i" else MISSING_TEXT)))
            missing = missing or (rows.stop is not None and len(table) < rows.stop - (rows.start or 0))
        except (*READ_ERRORS, StoreDamaged):
            missing = True
        if missing:
            raise StoreDamaged(
                f"store: the table {key!r} in {self.url!r} is damaged; restore its folder from a copy, or "
                "extract into another store"
            )
        return table

    def append(self, key: str, values: NDArray[Any], start: int) -> None:
        """Write `values` to a table from row `start` on, which becomes its length before them."""
        array = self.array(key)
        array.resize((start + len(values),))
        array[start:] = values
