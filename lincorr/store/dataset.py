"""A template as an xarray dataset, read lazily, shard by shard, and checked as every other read is."""

from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core.indexing import IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

from lincorr.prompts.subjects import Subjects
from lincorr.store.hierarchy import Hierarchy
from lincorr.store.identity import Kind
from lincorr.store.shards import Shards


def template_dataset(
    hierarchy: Hierarchy, shards: Shards, name: str, subjects: Subjects, columns: NDArray[np.int64]
) -> xarray.Dataset:
    """Return logits and hidden states of a template, which are read when they are used.

    `complete` (subject) says which rows are extracted; the others are NaN. Reading a row whose shard is not
    what was written, such as one that has lost a chunk, raises StoreDamaged.

    Args:
        subjects: of all rows.
        columns: (q,) the ids of the tokens whose logits are stored.
    """
    tokens = f"{name}_token"
    written = shards.written(name)
    dimensions: dict[Kind, str] = {"logits": tokens, "hidden": "width"}
    data = xarray.Dataset(
        {
            kind: (
                ("subject", dimensions[kind]),
                LazilyIndexedArray(_Checked(hierarchy, shards, kind, name, written != 0)),
            )
            for kind in hierarchy.identity.kinds
        }
        | {"complete": ("subject", written > 0)}
    )
    return data.assign_coords(
        {
            "subject": ("subject", list(subjects.texts)),
            "subject_id": ("subject", subjects.ids),
            tokens: [str(text) for text in hierarchy.table(f"columns/{name}/text")],
            "token_id": (tokens, columns),
        }
    )


class _Checked(BackendArray):
    """Rows of one kind as the shards have them; rows that were never written are NaN."""

    def __init__(
        self, hierarchy: Hierarchy, shards: Shards, kind: Kind, name: str, recorded: NDArray[np.bool_]
    ) -> None:
        array = hierarchy.array(f"{kind}/{name}")
        self.shape, self.dtype = (len(recorded), array.shape[1]), array.dtype
        self._shards, self._kind, self._name, self._recorded = shards, kind, name, recorded

    def __getitem__(self, key: Any) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[int | slice, int | slice]) -> NDArray[np.floating]:
        """Read what integers and slices select."""
        rows = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        recorded = self._recorded[rows]
        block = np.full((len(rows), self.shape[1]), np.nan, self.dtype)
        block[recorded] = self._shards.read_rows(self._kind, self._name, rows[recorded])
        return np.asarray(block[slice(None) if isinstance(key[0], slice) else 0, key[1]])
