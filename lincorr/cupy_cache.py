"""CuPy makes a folder in the user's home when it is imported, and Zarr imports CuPy wherever it is installed.

Where that folder cannot be made or written, this module, imported first, gives CuPy one that lasts as long
as the process; else every command would end in its traceback.
"""

import importlib.util
import os
import tempfile
from pathlib import Path

_VARIABLE = "CUPY_CACHE_DIR"


def _is_usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary() -> tempfile.TemporaryDirectory[str] | None:
    folder = os.environ.get(_VARIABLE) or os.path.expanduser("~/.cupy/kernel_cache")
    if importlib.util.find_spec("cupy") is None or _is_usable(Path(folder)):
        return None
    try:
        found = tempfile.TemporaryDirectory(prefix="cupy-", ignore_cleanup_errors=True)
    except OSError:  # nothing can be written anywhere
        return None
    os.environ[_VARIABLE] = found.name
    return found


FOLDER = _temporary()  # deleted with this module, at the end of the process
