"""What the parts of a store share: the opened Zarr group, the store's attributes, and its tables."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.errors import StoreDamaged
from lincorr.store.chunks import MISSING_ID
from lincorr.store.identity import Identity
from lincorr.text import MISSING_TEXT

# What Zarr raises for a chunk that is damaged.
READ_ERRORS = (ValueError, OSError, RuntimeError)


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
        """What the store was made with."""
        return Identity.from_json(self.state()["identity"])

    @property
    def n_subjects(self) -> int:
        """Number of subjects in the store."""
        return int(self.state()["n_subjects"])

    # --- arrays -----------------------------------------------------------------------------------

    def array(self, key: str) -> Any:
        """Return an array, opened once: opening it takes longer than reading one of its chunks.

        Raises:
            KeyError: there is no such array.
        """
        if key not in self._arrays:
            self._arrays[key] = self.group[key]
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
        except (*READ_ERRORS, KeyError):
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
