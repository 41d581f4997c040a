"""Copies between host and device beside the products: in another thread, on CUDA streams of their own.

Their host memory is page-locked, so that the device fetches it by itself. CuPy gives released memory to the
next array of the same stream, whose work comes later. So arrays are allocated by the thread that computes,
and a copy waits for what that thread's stream had to do then, and for nothing later.
"""

import functools
from typing import Any

import array_api_compat
from numpy.typing import DTypeLike, NDArray

from lincorr.arrays import Array, to_host


class Landing:
    """A place for an array on a device of a kind; made by the thread that will compute with it.

    On "cpu" there is nothing to copy.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, kind: str) -> None:
        self._place: Array = None
        if kind == "cpu":
            return
        import cupy

        self._place = cupy.empty(shape, dtype)
        self._released = cupy.cuda.get_current_stream().record()

    def fill(self, host: NDArray[Any]) -> Array:
        """Copy a host array of this shape and dtype there, in any thread, and return it when it is there."""
        place, self._place = self._place, None  # whoever has the array decides how long it stays
        if place is None:
            return host
        stream = _stream(place.device.id, "up")
        stream.wait_event(self._released)
        place.set(_page_locked(host), stream=stream)
        stream.synchronize()
        return place


class Departure:
    """An array that is to be copied to the host; made by the thread that computed it."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._made: Any = None
        if array_api_compat.is_cupy_array(array):
            import cupy

            self._made = cupy.cuda.get_current_stream().record()

    def to_host(self) -> NDArray[Any]:
        """Return it as NumPy, in any thread."""
        if self._made is None:
            return to_host(self._array)
        stream = _stream(self._array.device.id, "down")
        stream.wait_event(self._made)
        return to_host(self._array, stream)


@functools.cache
def _stream(device: int, way: str) -> Any:
    """Return the stream for copies of one way, which no other work waits for."""
    import cupy

    with cupy.cuda.Device(device):
        return cupy.cuda.Stream(non_blocking=True)


def _page_locked(host: NDArray[Any]) -> NDArray[Any]:
    import cupyx

    copied: NDArray[Any] = cupyx.empty_pinned(host.shape, host.dtype)
    copied[...] = host
    return copied
