"""One run at a time writes a store: a file beside the store, locked by the operating system.

The lock ends with its process, however that dies, so nothing stale is ever left. Object stores have no such
lock: there an object is leased (`pipeline.runtime.lease`).
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lincorr.errors import BadInput, LincorrError
from lincorr.store.locations import is_remote, is_writable
from pipeline.runtime.executor import this_worker
from pipeline.runtime.lease import leased


@contextmanager
def sole_writer(url: str, *, or_read: bool = False) -> Iterator[None]:
    """Hold the lock of a store, which need not exist yet.

    Args:
        or_read: where the location is read-only, go on without a lock instead of refusing.

    Raises:
        BadInput: the location is read-only.
        LincorrError: another run holds it; the message names its host and process.
    """
    if is_remote(url):
        with leased(url, or_read=or_read):
            yield
        return
    if not is_writable(url):
        if or_read:
            yield
            return
        raise BadInput(f"store.path: {url!r} is read-only; name a location that can be written")
    path = lock_path(url)
    file = _locked(path, url)
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, this_worker().encode(), 0)
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # while still held, so that whoever waits for this file sees that it is gone
        os.close(file)


def lock_path(url: str) -> Path:
    """Return where the lock of a local store is."""
    store = Path(url).resolve()
    return store.with_name(store.name + ".lock")


def _locked(path: Path, url: str) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as problem:
            if problem.errno == errno.ELOOP:  # whoever made it would have another file overwritten
                raise BadInput(
                    f"store.path: the lock {str(path)!r} is a symbolic link; delete it"
                ) from problem
            raise BadInput(
                f"store: {url!r} cannot be written ({problem.strerror}: {str(path)!r}, which keeps two runs "
                "from writing it at once); name another location"
            ) from problem
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holder = os.pread(file, 1024, 0).decode() or "another process"
            os.close(file)
            raise LincorrError(
                f"store.path: {url!r} is being written by another run, {holder} (host:process); wait for it, "
                "or name another store"
            ) from problem
        if _is_still(file, path):
            return file
        os.close(file)  # its holder deleted it after we opened it


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
