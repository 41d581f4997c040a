"""Copy a store to another place, folder or bucket, file by file, and check what has arrived.

The root's zarr.json, which makes a store of the files, is written last, after they were checked. Until then
it says which store is being copied: a copy that is killed is no store, and the same copy goes on with what is
missing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from lincorr.errors import BadInput, LincorrError
from lincorr.store.compact import is_left_over
from lincorr.store.locations import open_location
from lincorr.store.place import require_place
from lincorr.store.seal import seal
from lincorr.store.store import LogitStore

_ROOT = "zarr.json"
_BEGUN = "lincorr_copy"  # attribute of an unfinished copy: the seal of the identity that it is a copy of
_AT_ONCE = 8  # files in memory, of 16 MB at most, and requests to a server


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy has done.

    Attributes:
        files: of the store, without scratch.
        bytes: in them.
        written: files that were not there yet.
        faults: of the copy, one line each, as `LogitStore.verify` returns them; the source has them, too.
    """

    files: int
    bytes: int
    written: int
    faults: tuple[str, ...]


def files_to_copy(source: str) -> list[str]:
    """List a store's files but those of scratch: one request for each thousand, on a server."""
    return sync(_keys(open_location(source)))


def copy_store(
    source: str, target: str, files: Sequence[str], advance: Callable[[int], None] | None = None
) -> Copied:
    """Copy files byte by byte, and read the copy whole against its checksums.

    Args:
        files: all that a copy has (`files_to_copy`).
        advance: called with the number of files that have arrived since.

    Raises:
        BadInput: there is no store at `source`, or `target` has a store or anything but an unfinished copy.
        LincorrError: what arrived is not what was sent, while `source` is intact; it is no store then.
    """
    made = require_free(source, target)
    here, there = open_location(source), open_location(target)
    present = set(sync(_keys(there)))
    root = zarr.open_group(there, mode="a", zarr_format=3)
    root.attrs[_BEGUN] = made
    sync(_delete_others(there, present, files))  # of maps, say, that were fitted anew since it was begun
    sizes = sync(_copy_all(here, there, [key for key in files if key != _ROOT], present, advance))
    root.metadata.attributes["lincorr"] = _state(source)  # here, not there: to read the copy as a store
    faults = LogitStore(target, root).verify()
    if faults and not LogitStore.open(source).verify():
        raise LincorrError(f"store copy: {target!r} is not what was sent ({faults[0]}); copy it again")
    sizes += sync(_copy_all(here, there, [_ROOT], set(), advance))
    return Copied(len(sizes), sum(size for size, _ in sizes), sum(new for _, new in sizes), tuple(faults))


def require_free(source: str, target: str) -> str:
    """Refuse a copy to a place that has anything but an unfinished copy of the same store.

    Returns:
        What identifies the source.

    Raises:
        BadInput: there is no store at `source`, or something else at `target`.
    """
    LogitStore.open(source)  # refused here
    made = seal(_state(source)["identity"])
    if LogitStore.exists(target):
        raise BadInput(
            f"store copy: there is a store at {target!r}; name another place, or add to it by `lincorr store "
            "merge`"
        )
    try:
        begun = zarr.open_group(open_location(target), mode="r", zarr_format=3).attrs.get(_BEGUN)
    except FileNotFoundError:
        begun = None
    if begun is None:
        require_place(target)
    elif begun != made:
        raise BadInput(f"store copy: {target!r} is an unfinished copy of another store; name another place")
    return made


def _state(source: str) -> Any:
    return zarr.open_group(open_location(source), mode="r", zarr_format=3).attrs["lincorr"]


async def _keys(store: Any) -> list[str]:
    return sorted([key async for key in store.list() if not is_left_over(key)])


async def _delete_others(store: Any, present: set[str], files: Sequence[str]) -> None:
    """Delete what is present and not among the files, with the folders that would be left empty."""
    kept = {prefix for key in files for prefix in _prefixes(key)}
    for name in sorted(
        {next(p for p in _prefixes(key) if p not in kept) for key in present.difference(files)}
    ):
        await (store.delete(name) if name in present else store.delete_dir(name))


def _prefixes(key: str) -> list[str]:
    """The folders that a file is in, from the outermost on, and the file itself."""
    parts = key.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


async def _copy_all(
    here: Any, there: Any, keys: list[str], present: set[str], advance: Callable[[int], None] | None
) -> list[tuple[int, bool]]:
    """Copy files but those that are present and alike; return their sizes, and whether each was written."""
    free, prototype = asyncio.Semaphore(_AT_ONCE), default_buffer_prototype()

    async def copied(key: str) -> tuple[int, bool]:
        async with free:
            content = await here.get(key, prototype)
            if content is None:
                raise LincorrError(f"store copy: {key!r} vanished while the store was copied; copy it again")
            data = content.to_bytes()
            found = await there.get(key, prototype) if key in present else None
            new = found is None or found.to_bytes() != data
            if new:
                await there.set(key, content)
            if advance is not None:
                advance(1)
        return len(data), new

    tasks = [asyncio.ensure_future(copied(key)) for key in keys]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()  # once one has failed, nothing more is written
