"""The zarr.json of a template's arrays and of a store's groups: written with them, and anew when lost.

All that they say follows from the store's identity and the template, so that a lost one costs no data.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import zarr

from lincorr.errors import StoreDamaged
from lincorr.relations.relation import Template
from lincorr.store.chunks import checksummed, panel
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy

GROUPS = ("subjects", "columns", "logits", "hidden", "done", "maps", "scores")

# A shard's done-record; older stores have the first three numbers alone.
RECORD = ("rows", "logits_crc32", "hidden_crc32", "audited", "difference")
COMPARED = 3  # what says whether data are what was written


class Descriptions:
    """What describes the arrays and groups of a store."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy

    def create(self, template: Template, n_columns: int) -> None:
        """Make a template's arrays, without data: records, hidden states if they are stored, and logits."""
        for key, described in self._arrays(template, n_columns).items():
            self._hierarchy.group.create_array(key, **described, overwrite=True)

    def lost(self, template: Template, n_columns: int) -> list[str]:
        """Return the arrays of a template whose zarr.json is missing, damaged, or of another array."""
        arrays = self._arrays(template, n_columns)
        return [key for key, described in arrays.items() if not self._is_array(key, described)]

    def restore(self, template: Template, n_columns: int) -> None:
        """Write those anew; chunks and records stay as they are."""
        arrays = self._arrays(template, n_columns)
        for key in self.lost(template, n_columns):
            self._hierarchy.forget_description(key)
            self._hierarchy.group.create_array(key, **arrays[key])

    def restore_all(self, templates: Sequence[Template]) -> None:
        """Write every lost zarr.json of a store's templates and groups anew.

        Raises:
            StoreDamaged: a table of columns is damaged.
        """
        for key in self.lost_groups([*GROUPS, *(f"columns/{template.name}" for template in templates)]):
            self._hierarchy.forget_description(key)
            self._hierarchy.group.create_group(key)
        for template in templates:
            self.restore(template, len(self._hierarchy.table(f"columns/{template.name}/id")))

    def lost_groups(self, keys: Iterable[str]) -> list[str]:
        """Return those groups whose zarr.json is missing or damaged."""
        return [key for key in keys if not self._is_group(key)]

    def _is_group(self, key: str) -> bool:
        try:
            return isinstance(self._hierarchy.group[key], zarr.Group)
        except READ_ERRORS:
            return False

    def _is_array(self, key: str, described: dict[str, Any]) -> bool:
        try:
            array = self._hierarchy.array(key)
        except StoreDamaged:
            return False
        widths = (COMPARED, len(RECORD)) if key.startswith("done/") else (described["shape"][1],)
        return (
            array.dtype == np.dtype(described["dtype"])
            and array.chunks[0] == described["chunks"][0]
            and array.shape[1:] in [(width,) for width in widths]
        )

    def _arrays(self, template: Template, n_columns: int) -> dict[str, dict[str, Any]]:
        """What `create_array` is told for each array, in the order in which they are made."""
        name, identity, n_subjects = template.name, self._hierarchy.identity, self._hierarchy.n_subjects
        done: dict[str, Any] = {
            "shape": (-(-n_subjects // identity.shard_rows), len(RECORD)),
            "chunks": (1, len(RECORD)),
            "dtype": np.int64,
            "fill_value": 0,
            "compressors": checksummed(),
            "dimension_names": ("shard", "record"),
            "attributes": {"record": list(RECORD)},
        }
        arrays = {f"done/{name}": done}
        if identity.hidden:
            arrays[f"hidden/{name}"] = self._data(template, identity.width, "width")
        arrays[f"logits/{name}"] = self._data(template, n_columns, f"{name}_token")
        return arrays

    def _data(self, template: Template, width: int, dimension: str) -> dict[str, Any]:
        identity = self._hierarchy.identity
        column_bytes = identity.shard_rows * np.dtype(identity.precision).itemsize
        return {
            "shape": (self._hierarchy.n_subjects, width),
            "chunks": (identity.shard_rows, panel(width, column_bytes)),
            "dtype": identity.precision,
            "fill_value": float("nan"),
            "compressors": checksummed(),
            "dimension_names": ("subject", dimension),
            "attributes": {"text": template.text},
        }
