"""Batch sizes that were tried out already, beside a converted model: trying takes up to eight seconds.

A size holds for one machine, its free memory to a factor of two, the libraries that compute, and a week: it
may have been found on a busy machine. Only folders that this package made have such a file: others belong to
the user or to the hub's cache.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "transformers", "numpy")
_WEEK = 7 * 24 * 3600.0  # seconds


def remembered(folder: Path | None, facts: Mapping[str, Any], tune: Callable[[], int]) -> int:
    """Return the tokens of a pass that are remembered for this machine; if none are, those that `tune` finds.

    Args:
        folder: of a converted model; None where nothing is to be remembered.
        facts: what else a size depends on: weights, device, precision, threads, memory, lincorr.
    """
    if folder is None:
        return tune()
    path = _beside(folder)
    key = json.dumps(_here() | dict(facts), sort_keys=True)
    now = time.time()
    match _read(path).get(key):
        case {"tokens": int(known), "found": found} if known > 0 and _is_fresh(found, now):
            return known
    tokens = tune()
    others = {  # read again: another worker may have written meanwhile
        other: size
        for other, size in _read(path).items()
        if isinstance(size, dict) and _is_fresh(size.get("found"), now)
    }
    _write(path, others | {key: {"tokens": tokens, "found": now}})
    return tokens


def is_remembered(folder: Path | None) -> bool:
    """Whether a size is remembered for this machine and its libraries, whatever else it depends on."""
    if folder is None:
        return False
    here = _here().items()
    return any(
        here <= _facts(key).items()
        for key, size in _read(_beside(folder)).items()
        if isinstance(size, dict) and _is_fresh(size.get("found"), time.time())
    )


def _here() -> dict[str, Any]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"machine": platform.node(), "cores": os.cpu_count()} | libraries


def _facts(key: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(key)
        if isinstance(found, dict):
            return found
    return {}


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.tuned.json")


def _is_fresh(found: object, now: float) -> bool:
    return isinstance(found, float) and now - _WEEK < found <= now


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
