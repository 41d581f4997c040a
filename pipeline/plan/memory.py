"""What a worker may hold."""

import psutil

from lincorr.errors import BadInput
from pipeline.config import FitSettings

_LIBRARY_BYTES = 350_000_000  # resident in a worker before it has any data


def fit_memory(settings: FitSettings) -> int:
    """Return the bytes that a task may hold while fitting.

    Raises:
        BadInput: it is less than the libraries take.
    """
    if settings.memory is None:
        return psutil.virtual_memory().available // 2
    left = int(settings.memory * 1e9) - _LIBRARY_BYTES
    if left <= 0:
        raise BadInput(
            f"fit.memory: {settings.memory:g} GB is what a worker's libraries take; give it "
            f"{2 * _LIBRARY_BYTES / 1e9:.1f} or more"
        )
    return left
