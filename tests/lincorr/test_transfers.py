"""Copies beside the products: on a made-up device whose streams work as late as they may, and on a GPU."""

import inspect
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lincorr import transfers
from lincorr.arrays import has_gpu
from lincorr.transfers import Departure, Landing


class Stream:
    """Work in order; nothing is done before somebody waits for it."""

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking
        self.queue: list[Callable[[], object]] = []

    def record(self) -> Callable[[], None]:
        """An event: what waits for it has the work done that is queued now."""
        number = len(self.queue)
        return lambda: self.work(number)

    def wait_event(self, event: Callable[[], None]) -> None:
        self.queue.append(event)

    def synchronize(self) -> None:
        self.work(len(self.queue))

    def work(self, number: int) -> None:
        for place in range(number):
            todo, self.queue[place] = self.queue[place], lambda: None
            todo()


class OnDevice:
    """An array of the device."""

    device = SimpleNamespace(id=0)

    def __init__(self, memory: NDArray[Any]) -> None:
        self.memory = memory
        self.shape, self.dtype = memory.shape, memory.dtype

    def set(self, arr: NDArray[Any], stream: Stream) -> None:
        assert pinned(arr)
        stream.queue.append(lambda: np.copyto(self.memory, arr))

    def get(self, stream: Stream, out: NDArray[Any]) -> NDArray[Any]:
        assert pinned(out)
        stream.queue.append(lambda: np.copyto(out, self.memory))
        stream.synchronize()
        return out


PINNED: list[NDArray[Any]] = []


def pinned(array: NDArray[Any]) -> bool:
    return any(array is one for one in PINNED)


def empty_pinned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    PINNED.append(np.empty(shape, dtype))
    return PINNED[-1]


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    """The stream that computes, on a device with memory for one array."""
    stream, memory = Stream(), np.zeros(3)

    class Device:
        def __init__(self, number: int) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    fake, fakex = ModuleType("cupy"), ModuleType("cupyx")
    fake.ndarray = OnDevice  # type: ignore[attr-defined]
    fake.empty = lambda shape, dtype: OnDevice(memory)  # type: ignore[attr-defined]
    fake.cuda = SimpleNamespace(get_current_stream=lambda: stream, Stream=Stream, Device=Device)  # type: ignore[attr-defined]
    fakex.empty_pinned = empty_pinned  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "cupyx", fakex)
    monkeypatch.setattr("array_api_compat.is_cupy_array", lambda x: isinstance(x, OnDevice))
    transfers._stream.cache_clear()
    yield stream
    transfers._stream.cache_clear()
    PINNED.clear()


def test_a_copy_waits_for_the_work_that_still_needs_its_place_and_for_no_later_work(
    computing: Stream,
) -> None:
    first = Landing((3,), float, "cuda").fill(np.full(3, 1.0))
    found: list[float] = []
    computing.queue.append(lambda: found.append(first.memory.sum()))  # released before it is done
    place = Landing((3,), float, "cuda")
    computing.queue.append(lambda: found.append(-1.0))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(place.fill, np.full(3, 2.0)).result()
    assert found == [3.0]
    assert second.memory.sum() == 6.0


def test_what_is_copied_to_the_host_is_what_was_computed_until_then(computing: Stream) -> None:
    made = OnDevice(np.zeros(3))
    computing.queue.append(lambda: np.copyto(made.memory, 5.0))
    leaving = Departure(made)
    computing.queue.append(lambda: np.copyto(made.memory, -1.0))
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(leaving.to_host).result()
    assert found.tolist() == [5.0] * 3
    assert made.memory.tolist() == [5.0] * 3


def test_streams_of_copies_are_kept_and_wait_for_no_default_stream(computing: Stream) -> None:
    up, down = (transfers._stream(0, way) for way in ("up", "down"))
    assert up.non_blocking
    assert down.non_blocking
    assert up is not down
    assert transfers._stream(0, "up") is up


def test_on_the_host_nothing_is_copied() -> None:
    host = np.arange(6.0).reshape(2, 3)
    assert Landing((2, 3), float, "cpu").fill(host) is host
    assert Departure(host).to_host() is host


def test_cupy_has_what_is_called() -> None:
    """CuPy can be imported without a GPU; its compiled methods tell their arguments in their first line."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    import cupyx

    inspect.signature(cupy.cuda.Stream).bind(non_blocking=True)
    inspect.signature(cupy.cuda.Stream.record).bind("stream")
    inspect.signature(cupy.cuda.Stream.wait_event).bind("stream", "event")
    inspect.signature(cupy.cuda.Stream.synchronize).bind("stream")
    inspect.signature(cupyx.empty_pinned).bind((2, 3), float)
    inspect.signature(cupy.empty).bind((2, 3), float)
    assert cupy.ndarray.set.__doc__.startswith("_ndarray_base.set(self, arr, stream=None)")
    assert cupy.ndarray.get.__doc__.startswith(
        "_ndarray_base.get(self, stream=None, order='C', out=None, blocking=True)"
    )


@pytest.mark.gpu
def test_copies_beside_products_on_a_gpu() -> None:
    """Memory goes from tile to tile while products that read it are still queued."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not has_gpu():
        pytest.skip("CuPy finds no GPU")
    rng, size = np.random.default_rng(0), 1024
    tiles = [rng.standard_normal((size, size)) for _ in range(16)]
    right = rng.standard_normal((size, 8))
    on_device, found = cupy.asarray(right), []
    with ThreadPoolExecutor(1) as up, ThreadPoolExecutor(1) as down:
        for tile in tiles:
            place = Landing(tile.shape, tile.dtype, "cuda")
            slow = cupy.ones((4096, 4096))
            for _ in range(3):
                slow = slow @ slow / 4096
            here = up.submit(place.fill, tile).result()
            found.append(down.submit(Departure((here @ on_device).T).to_host))
            del place, here
    for tile, product in zip(tiles, found, strict=True):
        np.testing.assert_allclose(product.result(), (tile @ right).T, rtol=1e-10, atol=1e-10)
