"""Batch sizes that were tried out already, beside a converted model: trying takes up to eight seconds.

A size holds for one machine, its free memory to a factor of two, and the libraries that compute. Only folders
that this package made have such a file: others belong to the user or to the hub's cache.
"""

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "transformers", "numpy")


def remembered(folder: Path | None, facts: Mapping[str, Any], tune: Callable[[], int]) -> int:
    """Return the tokens of a pass that are remembered for this machine; if none are, those that `tune` finds.

    Args:
        folder: of a converted model; None where nothing is to be remembered.
        facts: what else a size depends on: weights, device, precision, threads, memory.
    """
    if folder is None:
        return tune()
    path = folder.with_name(f"{folder.name}.tuned.json")
    here = {"machine": platform.node(), "cores": os.cpu_count()} | {
        name: version(name) for name in _LIBRARIES
    }
    key = json.dumps(here | dict(facts), sort_keys=True)
    known = _read(path).get(key)
    if isinstance(known, int) and known > 0:
        return known
    found = tune()
    _write(path, _read(path) | {key: found})  # read again: another worker may have written meanwhile
    return found


def _read(path: Path) -> dict[str, Any]:
    """What is remembered; nothing where the file is missing or broken."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(path: Path, sizes: Mapping[str, Any]) -> None:
    """Replace the file as a whole; where it cannot be written, sizes are tried out again next time."""
    with suppress(OSError):
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".tuned-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(sizes, file, indent=1)
        os.replace(partial, path)
