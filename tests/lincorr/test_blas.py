"""Products let other threads run; whether they are right is in `test_arrays.py`."""

import itertools
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg.blas

from lincorr import blas

SIZE = 900
A = np.random.default_rng(0).standard_normal((SIZE, SIZE))
TRIANGLE = np.tril(A) / SIZE + np.eye(SIZE)

CALLS: dict[str, Callable[[], object]] = {
    "product": lambda: blas.add_product(np.zeros((SIZE, SIZE)), A, A, 1.0),
    "square": lambda: blas.add_square(np.zeros((SIZE, SIZE)), A, 1.0),
    "triangle": lambda: blas.solve_from_the_right(TRIANGLE, A, lower=True),
}


def runs_beside(call: Callable[[], object], attempts: int) -> bool:
    """Whether another thread ran in the middle of a call, in one of some attempts."""
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            seen.append(time.perf_counter())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(attempts):
            began = time.perf_counter()
            call()
            third = (time.perf_counter() - began) / 3
            if any(began + third < moment < began + 2 * third for moment in list(seen)):
                return True
        return False
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize("name", CALLS)
def test_other_threads_run_during_a_product(name: str) -> None:
    assert runs_beside(CALLS[name], attempts=50)


@pytest.mark.parametrize("shape", list(itertools.product((0, 1, 3), repeat=3)), ids=str)
def test_products_without_rows_or_columns_change_nothing(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    total, a, b = np.ones((m, n)), np.full((m, k), 2.0), np.full((k, n), 3.0)
    blas.add_product(total, a, b, -1.0)
    assert np.array_equal(total, np.full((m, n), 1.0 - 6 * k))


def test_bits_are_those_of_scipys_wrapper() -> None:
    total = np.asfortranarray(A)
    expected = scipy.linalg.blas.dgemm(-1.0, A.T, A.T, 1.0, total, True, True)
    blas.add_product(total, A, A, -1.0)
    assert total.tobytes("F") == expected.tobytes("F")
