"""The scratch of one fit: where it is, and what its tasks must know."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.plan.memory import must_cut_anew

_TILING = ("block", "panel", "sketch")
_LAYOUT = 2  # raised when a fit must not resume from a scratch that was begun before


def scratch_url(store: LogitStore, name: str) -> str:
    """Return where the scratch of a fit is."""
    return f"{store.url.rstrip('/')}/scratch/{name}"


def begin(
    store: LogitStore,
    name: str,
    inputs: str,
    *,
    templates: tuple[str, str],
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    **facts: Any,
) -> Scratch:
    """Open the scratch of one fit, in the store's folder: an earlier one, unless it cannot be resumed.

    Args:
        inputs: digest of what the fit depends on.
        facts: what tasks must know: ``block`` and ``panel``, and what a method adds.
    """
    url = scratch_url(store, name)
    scratch = Scratch.begin(url, inputs)
    known = scratch.facts()
    too_large = must_cut_anew(known.get("memory_bytes", 0), facts["memory_bytes"])
    if too_large or (known and known.get("layout") != _LAYOUT):
        scratch = Scratch.begin(url, inputs, anew=True)
    else:  # the tiles that it has decide
        facts |= {key: known[key] for key in _TILING if key in known}
    for key, values in (("source_ids", source_ids), ("target_ids", target_ids), ("rows", rows)):
        scratch.save(key, values.astype(np.float64))
    scratch.remember(source=templates[0], target=templates[1], layout=_LAYOUT, **facts)
    return scratch
