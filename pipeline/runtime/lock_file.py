"""A file that is a lock where the file system has none, held as long as it is renewed (see `lease`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from lincorr.errors import LincorrError


class SharedFile:
    """One small file, shared by processes; the tag of a version is its content."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[bytes, str] | None:
        """Return its content and the tag of this version; None if it does not exist."""
        with self._explained():
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                return None
        return content, _tag(content)

    def overwrite(self, content: bytes) -> str:
        """Write it in one step, whatever it has; return its tag."""
        beside = self._path.with_name(f"{self._path.name}.{uuid4().hex}")
        with self._explained():
            beside.write_bytes(content)
            beside.replace(self._path)
        return _tag(content)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise LincorrError(
                f"store.path: the lock {str(self._path)!r} cannot be written ({problem.strerror}); give this "
                "user the right to write there, or name another store"
            ) from problem


def _tag(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
