"""One run at a time writes a store: a file beside the store, locked by the operating system.

The lock ends with its process, however that dies, so nothing stale is ever left. Object stores and some file
systems have no such lock: there an object or file is leased (`pipeline.runtime.lease`).
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lincorr.errors import BadInput, LincorrError
from lincorr.store.locations import SharedObject, is_remote, is_writable
from pipeline.runtime.executor import ignore, this_worker
from pipeline.runtime.lease import lease_url, leased
from pipeline.runtime.lock_file import SharedFile

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
# What `flock` answers where a file system has no locks (NFS without its lock service, FUSE, Lustre).
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def sole_writer(url: str, *, or_read: bool = False, tell: Callable[[str], None] = ignore) -> Iterator[None]:
    """Hold the lock of a store, which need not exist yet.

    Args:
        or_read: where the location is read-only, go on without a lock instead of refusing.
        tell: called with a line where the location has no locks.

    Raises:
        BadInput: the location is read-only.
        LincorrError: another run holds it; the message names its host and process.
    """
    if is_remote(url):
        with leased(url, SharedObject(lease_url(url)), or_read=or_read, tell=tell):
            yield
        return
    if not is_writable(url):
        if or_read:
            yield
            return
        raise BadInput(f"store.path: {url!r} is read-only; name a location that can be written")
    path = lock_path(url)
    try:
        file = _locked(path, url)
    except _NoLocks:
        with leased(url, SharedFile(path), tell=tell):
            yield
        return
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, this_worker().encode(), 0)
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # while still held, so that whoever waits for this file sees that it is gone
        os.close(file)


class _NoLocks(Exception):
    """The file system, or the operating system, does not lock files."""


def lock_path(url: str) -> Path:
    """Return where the lock of a local store is."""
    store = Path(url).resolve()
    return store.with_name(store.name + ".lock")


def _locked(path: Path, url: str) -> int:
    while True:
        file = _opened(path, url)
        try:
            _lock(file, path)
        except BlockingIOError as problem:
            holder = os.pread(file, 1024, 0).decode() or "another process"
            os.close(file)
            raise LincorrError(
                f"store.path: {url!r} is being written by another run, {holder} (host:process); wait for it, "
                "or name another store"
            ) from problem
        except BaseException:
            os.close(file)
            raise
        if _is_still(file, path):
            return file
        os.close(file)  # its holder deleted it after we opened it


def _opened(path: Path, url: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
    except OSError as problem:
        if problem.errno == errno.ELOOP:  # whoever made it would have another file overwritten
            raise BadInput(f"store.path: the lock {str(path)!r} is a symbolic link; delete it") from problem
        raise BadInput(
            f"store: {url!r} cannot be written ({problem.strerror}: {str(path)!r}, which keeps two runs "
            "from writing it at once); name another location"
        ) from problem


def _lock(file: int, path: Path) -> None:
    """Lock an open file without waiting.

    Raises:
        BlockingIOError: another process has locked it.
        _NoLocks: files cannot be locked here.
        BadInput: it fails otherwise.
    """
    if fcntl is None:
        raise _NoLocks
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as problem:
        if problem.errno in _NO_LOCKS:
            raise _NoLocks from problem
        raise BadInput(
            f"store.path: {str(path)!r} cannot be locked ({problem.strerror}); name another store"
        ) from problem


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
