"""Where a store may be made: a free place, or one where a killed run had only begun to make one."""

import asyncio
import os
import re
import warnings
from collections.abc import Iterable
from contextlib import suppress
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import zarr
from zarr.core.sync import sync

from lincorr.errors import BadInput, LincorrError
from lincorr.store.chunks import create_table
from lincorr.store.descriptions import GROUPS
from lincorr.store.locations import is_remote, open_location

_TABLES = {"subjects/id": np.int64, "subjects/text": str, "subjects/class": str}
_METADATA = re.compile(r"zarr\.json|zarr\.[0-9a-f]{32}\.partial")  # the second: as a killed write leaves it


def require_place(url: str) -> None:
    """Refuse a location where no store can be made; nothing is written.

    Raises:
        BadInput: something else is there, or it lies inside a store.
    """
    if is_remote(url):
        is_free = sync(_has_metadata_only(url))  # first: a server that does not answer says so here
        outer: str | Path | None = _url_above(url)
    else:
        above = Path(url).resolve().parents
        outer = store_at(reversed(above))
        if not (outer or next((path for path in above if os.path.lexists(path)), Path("/")).is_dir()):
            raise BadInput(f"store: {url!r} lies below a file; name another place")
        is_free = _holds_metadata_only(Path(url))
    if outer:
        raise BadInput(f"store: {url!r} lies inside another, {str(outer)!r}; name a place outside of it")
    if not (is_free and _is_begun(url)):
        raise BadInput(f"store: {url!r} already exists and is not a lincorr store; name another")


def store_at(folders: Iterable[Path]) -> Path | None:
    """Return the first of some folders that is a Zarr hierarchy; None if none is."""
    return next((path for path in folders if os.path.isfile(path / "zarr.json")), None)


def _url_above(url: str) -> str | None:
    """Return the highest URL above one that is a Zarr hierarchy; None if none is that may be read."""
    parts = urlsplit(url)
    folders = reversed(PurePosixPath(parts.path).parents)
    above = [parts._replace(path=str(folder).rstrip("/")).geturl() for folder in folders]

    async def asked() -> list[bool]:
        return await asyncio.gather(*map(_is_hierarchy, above))  # at once: each is another connection

    return next(compress(above, sync(asked())), None)


async def _is_hierarchy(url: str) -> bool:
    with suppress(LincorrError):  # credentials may be for the place alone
        return await open_location(url).exists("zarr.json")
    return False


def make_groups(url: str) -> zarr.Group:
    """Make a store's groups and empty tables, those that are missing, and return its root."""
    if not is_remote(url):
        for path in Path(url).rglob("zarr.*.partial"):
            path.unlink()
    root = zarr.open_group(open_location(url), mode="a", zarr_format=3)
    for name in GROUPS:
        root.require_group(name)
    for name, kind in _TABLES.items():
        create_table(root, name, kind, "subject")
    return root


def clear_place(url: str) -> None:
    """Delete what is in a store's place, so that another can be made there."""
    zarr.open_group(open_location(url), mode="w", zarr_format=3)


async def _has_metadata_only(url: str) -> bool:
    """Whether a URL has no object but Zarr's metadata where a store has it.

    Others would be deleted with a store that fails before its first shard.
    """
    async for key in open_location(url).list():
        folder, _, name = key.rpartition("/")
        if not _METADATA.fullmatch(name) or folder.partition("/")[0] not in ("", *GROUPS):
            return False
    return True


def _holds_metadata_only(folder: Path) -> bool:
    """Whether a folder is missing, or has no file but Zarr's metadata where a store has it."""
    if not os.path.lexists(folder):
        return True
    if not folder.is_dir() or any(
        path.name not in GROUPS if path.is_dir() else not _METADATA.fullmatch(path.name)
        for path in folder.iterdir()
    ):
        return False
    return all(path.is_dir() or _METADATA.fullmatch(path.name) for path in folder.rglob("*"))


def _is_begun(url: str) -> bool:
    """Whether no Zarr hierarchy is at a location, or one that has only what `make_groups` makes."""
    try:
        root = zarr.open_group(open_location(url), mode="r", zarr_format=3)
    except FileNotFoundError:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a killed write left
        members: dict[str, Any] = dict(root.members(max_depth=None))
    arrays = [node for node in members.values() if isinstance(node, zarr.Array)]
    made = {*GROUPS, *_TABLES}
    return not dict(root.attrs) and members.keys() <= made and not any(array.size for array in arrays)
