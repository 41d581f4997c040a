"""Where an array lives: its namespace, and the two crossings between host and device.

Kernels ask the array (``namespace(x)``) instead of remembering a device. Only the edge of a worker calls
`to_device` and `to_host`. This is the one file that knows CuPy, and importing it makes no GPU context.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

Array = Any  # any array-API array: NumPy, CuPy, array-api-strict


def namespace(*arrays: Array) -> Any:
    """Return the array-API namespace that all `arrays` belong to."""
    return array_api_compat.array_namespace(*arrays)


def to_device(array: NDArray[Any], device: str) -> Array:
    """Copy a host array to `device`: "cpu" returns it as it is, "cuda" returns a CuPy array."""
    if device == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def to_host(array: Array) -> NDArray[Any]:
    """Copy any array to the host as NumPy."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    return np.asarray(array)
