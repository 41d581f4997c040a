"""The location of a store: a folder, or the URL of an object store. Errors there become one clear line.

Files are written atomically, and a PUT creates a whole object or none, so that a chunk is never half written
in either. Object stores are read through obstore, the client of Rust's object_store: one package without
dependencies, which retries what a server refuses for a while, and for which Zarr has an adapter.
"""

import errno
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.storage import LocalStore, WrapperStore

from lincorr.errors import BadInput, LincorrError, ReadOnly, Unlockable, in_one_line
from lincorr.redact import NO_CREDENTIALS, has_credentials
from lincorr.store.endpoint import s3_endpoint

_RETRIES: dict[str, Any] = {
    "max_retries": 8,  # 50 s at most: a server that is down for longer ends the run, to be resumed later
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=20), "base": 2},
    "retry_timeout": timedelta(minutes=3),
}
_NO_CONDITIONS = re.compile("501 Not Implemented|400 Bad Request")  # obstore has no exception class for these
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ENVIRONMENT = {  # first letters of a URL -> what its server is told by
    "g": "GOOGLE_APPLICATION_CREDENTIALS",
    "a": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
    "": "AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
}


def is_remote(url: str) -> bool:
    """Whether a location is a URL, not a local folder."""
    return "://" in url


def open_location(url: str) -> Store:
    """Return Zarr's store for a folder or URL; nothing is read or written yet.

    Raises:
        BadInput: there is no client for such a URL.
    """
    return _Explained(url, _object_store(url) if is_remote(url) else LocalStore(url))


def require_bucket(url: str) -> None:
    """Refuse a bucket that does not exist; a folder always passes.

    Raises:
        BadInput: there is no such bucket.
        LincorrError: its server does not answer, or denies access.
    """
    if not is_remote(url):
        return
    import obstore

    with _explaining(url):
        try:
            obstore.list_with_delimiter(_object_store(url).store)
        except Exception as problem:
            if "404 Not Found" not in str(problem):  # obstore has no exception class for this
                raise
            raise BadInput(
                f"store.path: there is no bucket for {url!r}; create it, or name another"
            ) from problem


def is_writable(url: str) -> bool:
    """Whether a folder, or its nearest existing parent, can be written; True for a URL, without asking."""
    if is_remote(url):
        return True
    folder = Path(url).absolute()
    found = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return found is not None and os.access(found, os.W_OK)  # on Windows, a drive may not exist


class SharedObject:
    """One small object of an object store, shared by processes: written only if it is still what was read."""

    def __init__(self, url: str) -> None:
        """Refer to an object by its URL; nothing is read or written yet.

        Raises:
            BadInput: there is no client for such a URL.
        """
        folder, _, self._name = url.rpartition("/")
        self._url = url
        self._store = _object_store(folder).store

    def read(self) -> tuple[bytes, str] | None:
        """Return its content and the tag of its version; None if it does not exist."""
        import obstore

        with _explaining(self._url):
            try:
                found = obstore.get(self._store, self._name)
            except FileNotFoundError:
                return None
            return bytes(found.bytes()), str(found.meta["e_tag"])

    def create(self, content: bytes) -> str | None:
        """Write it if it does not exist, and return its tag; None if it does.

        Raises:
            ReadOnly: these credentials may not write.
            Unlockable: the server does not support conditional PUTs.
        """
        return self._put(content, "create")

    def replace(self, content: bytes, tag: str) -> str | None:
        """Write it if it still has `tag`, and return its new one; None if it has another.

        Raises:
            ReadOnly: these credentials may not write.
            Unlockable: the server does not support conditional PUTs.
        """
        return self._put(content, {"e_tag": tag})

    def overwrite(self, content: bytes) -> str:
        """Write it, whatever it has; return its tag.

        Raises:
            ReadOnly: these credentials may not write.
        """
        return self._put(content, "overwrite") or ""

    def _put(self, content: bytes, mode: Any) -> str | None:
        import obstore
        from obstore.exceptions import (
            AlreadyExistsError,
            NotModifiedError,
            NotSupportedError,
            PermissionDeniedError,
            PreconditionError,
        )

        with _explaining(self._url, writing=True):
            try:
                return str(obstore.put(self._store, self._name, content, mode=mode)["e_tag"])
            except (AlreadyExistsError, NotModifiedError, PreconditionError):
                return None
            except PermissionDeniedError as problem:
                raise ReadOnly(
                    f"store.path: {self._url!r} may not be written with these credentials; name a location "
                    "that may"
                ) from problem
            except Exception as problem:
                refused = isinstance(problem, NotSupportedError) or _NO_CONDITIONS.search(str(problem))
                if refused and mode != "overwrite":
                    raise Unlockable(
                        f"store.path: the server of {self._url!r} does not support conditional writes"
                    ) from problem
                raise


def _object_store(url: str) -> Any:
    try:
        from obstore.store import HTTPStore, MemoryStore, from_url
        from zarr.storage import ObjectStore
    except ImportError as problem:
        raise BadInput(f"store.path: {url!r} needs obstore; pip install 'lincorr[s3]'") from problem
    if has_credentials(url):
        raise BadInput(f"store.path: {NO_CREDENTIALS}")
    endpoint = s3_endpoint() if url.lower().startswith("s3") else None
    options: Any = {}
    if endpoint:
        options = {"endpoint": endpoint, "client_options": {"allow_http": endpoint.startswith("http://")}}
    try:
        make: Any = from_url  # it has an overload for each provider
        made = make(url, retry_config=_RETRIES, **options)
    except Exception as problem:  # obstore has no common class for what it refuses
        why, _, _ = in_one_line(problem).partition(" Debug source:")
        raise BadInput(
            f"store.path: {url!r} cannot be used ({why}); name a folder, or a URL such as s3://bucket/a.zarr"
        ) from problem
    if isinstance(made, (HTTPStore, MemoryStore)):  # which cannot be listed, or not by another process
        raise BadInput(
            f"store.path: {url!r} is neither a folder nor a bucket; name one, such as s3://bucket/a.zarr, "
            "whose server is Amazon's or the one in AWS_ENDPOINT_URL"
        )
    return ObjectStore(made)


@contextmanager
def _explaining(url: str, *, writing: bool = False) -> Iterator[None]:
    """Turn a folder's or a server's error into one line.

    An error in reading a folder is left to the caller, who knows what is damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as problem:
        if not is_remote(url) and not writing:
            raise
        if is_remote(url):
            raise LincorrError(_unreachable(url, problem)) from problem
        mend = "free space there" if problem.errno in _NO_SPACE else "give this user the right to write there"
        raise LincorrError(
            f"store.path: {url!r} cannot be written ({problem.strerror}); {mend}. Finished work is stored: "
            "rerun to resume"
        ) from problem
    except Exception as problem:
        if type(problem).__module__.startswith("obstore"):
            raise LincorrError(_unreachable(url, problem)) from problem
        raise


def _unreachable(url: str, problem: BaseException) -> str:
    names = next(names for first, names in _ENVIRONMENT.items() if url.lower().startswith(first))
    return (
        f"store.path: {url!r} cannot be reached ({in_one_line(problem)}); check the endpoint, region and "
        f"credentials in the environment ({names}). Finished work is stored: rerun to resume"
    )


class _Explained(WrapperStore[Any]):
    """A Zarr store whose errors are explained (see `_explaining`)."""

    def __init__(self, url: str, store: Store) -> None:
        super().__init__(store)
        self._url = url

    def _with_store(self, store: Store) -> "_Explained":
        return _Explained(self._url, store)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        with _explaining(self._url):
            return await self._store.get(key, prototype, byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        with _explaining(self._url):
            return await self._store.get_partial_values(prototype, key_ranges)

    async def exists(self, key: str) -> bool:
        with _explaining(self._url):
            return bool(await self._store.exists(key))

    async def getsize(self, key: str) -> int:
        with _explaining(self._url):
            return int(await self._store.getsize(key))  # Zarr's own wrapper would read it whole

    async def set(self, key: str, value: Any) -> None:
        with _explaining(self._url, writing=True):
            await self._store.set(key, value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        with _explaining(self._url, writing=True):
            await self._store.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        with _explaining(self._url, writing=True):
            await self._store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        with _explaining(self._url, writing=True):
            await self._store.delete_dir(prefix)

    async def list(self) -> AsyncIterator[str]:
        with _explaining(self._url):
            async for name in self._store.list():
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        with _explaining(self._url):
            async for name in self._store.list_dir(prefix):
                yield name
