"""The folder of a report: a report replaces what reports wrote, and nothing else.

A manifest beside the report has the digests of its files. A new report is written whole into a folder of its
own, and its files then take the place of those; whatever else is in the folder stays as it is.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lincorr.errors import BadInput, LincorrError
from lincorr.store.locations import is_writable
from lincorr.store.place import store_at

INDEX = "report.html"
"""The page to begin with."""

MANIFEST = ".lincorr-report.json"

Digests = dict[str, list[str]]


def require_free(folder: Path, patterns: Iterable[str]) -> None:
    """Refuse a folder in which a report cannot be written, or would replace a file of the user's.

    Args:
        patterns: of the names that the report's files will have.

    Raises:
        BadInput: as said; nothing was changed.
    """
    nearest = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    if not nearest.is_dir() or not is_writable(str(folder)):
        raise BadInput(f"report.folder: {str(folder)!r} cannot be written; name another with --report-folder")
    whole = folder.resolve()
    if store := store_at([whole, *whole.parents]):
        raise BadInput(
            f"report.folder: {str(folder)!r} lies in the store {str(store)!r}; name one outside of it"
        )
    own = _digests(folder)
    _refuse_others([path for pattern in patterns for path in sorted(folder.glob(pattern))], own)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write a report into; then its files replace those of the last report.

    Until then the last report stays as it is; a file of it that the new one does not have is removed.

    Raises:
        BadInput: a file that no report wrote has the name of one of the report's; it is left as it is.
        LincorrError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".report-", dir=folder) as new:
            yield Path(new)
            _replace(folder, Path(new))
    except OSError as problem:
        raise LincorrError(
            f"report.folder: {str(folder)!r} cannot be written ({problem.strerror or problem}); the results "
            "are stored: make room or name another with --report-folder, and run `lincorr report`"
        ) from problem


def _replace(folder: Path, new: Path) -> None:
    old, names = _digests(folder), sorted(path.name for path in new.iterdir())
    added = {name: [_digest(new / name)] for name in names}
    # both are ours until all files are replaced: a kill in between leaves some of each
    either = {name: [*old.get(name, ()), *added.get(name, ())] for name in sorted({*old, *names})}
    _refuse_others([folder / name for name in names], either)
    _write_manifest(folder, new, either)
    for name in old.keys() - added.keys():
        if _is_own(folder / name, old):
            (folder / name).unlink()
    for name in sorted(names, key=lambda name: name == INDEX):  # which links to the others: last
        os.replace(new / name, folder / name)
    _write_manifest(folder, new, added)


def _refuse_others(paths: Iterable[Path], own: Mapping[str, list[str]]) -> None:
    for path in paths:
        if os.path.lexists(path) and not _is_own(path, own):
            raise BadInput(
                f"report.folder: {str(path)!r} is not what a report wrote there; move it (or delete it, "
                "if it is an earlier version's), or name another folder with --report-folder"
            )


def _is_own(path: Path, own: Mapping[str, list[str]]) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path) in own.get(path.name, ())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digests(folder: Path) -> Digests:
    """What the manifest says: file name -> digests of what reports wrote there; {} if it cannot be read."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return {Path(name).name: list(digests) for name, digests in files.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _write_manifest(folder: Path, new: Path, digests: Digests) -> None:
    whole = new / MANIFEST
    whole.write_text(json.dumps({"files": digests}, indent=1) + "\n", "utf-8")
    os.replace(whole, folder / MANIFEST)
