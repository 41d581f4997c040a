"""Stores as any reader of Zarr sees them, without the package's own classes."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

DATA = ("subjects", "columns", "logits", "hidden", "head")  # what forward passes leave


def array(url: str | Path, name: str) -> np.ndarray:
    """One array of a store, whole."""
    node = zarr.open_array(str(url), path=name, mode="r")
    return np.asarray(node[...])


def arrays(location: Any, *parts: str) -> dict[str, np.ndarray]:
    """Every array below some groups of a store, those that it has; `location` is whatever Zarr opens."""
    found = {}
    store = zarr.open_group(location, mode="r")
    for part in parts:
        group = store.get(part)
        for name, node in group.members(max_depth=None) if isinstance(group, zarr.Group) else ():
            if isinstance(node, zarr.Array):
                found[f"{part}/{name}"] = np.asarray(node[...])
    return found
