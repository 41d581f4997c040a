"""Remove from a store what no result needs: scratch, and what killed runs have left."""

import re
from dataclasses import dataclass
from typing import Any

from zarr.core.sync import sync

from lincorr.store.locations import open_location
from lincorr.store.store import LogitStore

_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")  # as a killed write leaves it


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was removed: files, and the bytes in them."""

    files: int
    bytes: int


def is_left_over(key: str) -> bool:
    """Whether a file of a store belongs to a scratch, or is half a file that a killed write has left."""
    return key.startswith("scratch/") or _PARTIAL.search(key) is not None


def compact(url: str) -> Compacted:
    """Delete scratch and half files; nobody may write the store meanwhile.

    Scratch has the decompositions of fits out of core: `lincorr fit` makes them again where they are needed.

    Raises:
        BadInput: there is no store at `url`.
    """
    LogitStore.open(url)
    return sync(_delete(open_location(url)))


async def _delete(store: Any) -> Compacted:
    keys = [key async for key in store.list() if is_left_over(key)]
    # a scratch without its zarr.json is none: a deletion that is killed leaves nothing that could be resumed
    keys.sort(key=lambda key: (key.count("/"), not key.endswith("zarr.json")))
    sizes = []
    for key in keys:
        sizes.append(await store.getsize(key))
        await store.delete(key)
    await store.delete_dir("scratch")  # the folders
    return Compacted(len(keys), sum(sizes))
