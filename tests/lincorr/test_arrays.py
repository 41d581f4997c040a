"""Products, triangles and memory limits on every kind of array."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from lincorr.arrays import (
    add_product,
    add_square,
    has_gpu,
    limit_memory,
    solve_triangular,
    to_device,
    to_host,
)
from tests.lincorr.solvers.problems import Put


@pytest.mark.parametrize("size", [1, 5, 128, 129, 300])
def test_triangles_are_solved(put: Put, size: int) -> None:
    rng = np.random.default_rng(0)
    triangle = np.tril(rng.standard_normal((size, size))) / size + 2 * np.eye(size)
    right = rng.standard_normal((size, 3))
    expected = scipy.linalg.solve_triangular(triangle, right, lower=True)
    found = solve_triangular(put(triangle), put(right), lower=True)
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-9)
    expected = scipy.linalg.solve_triangular(triangle.T, right)
    for turned in (triangle.T, np.ascontiguousarray(triangle.T)):
        found = solve_triangular(put(turned), put(right), lower=False)
        np.testing.assert_allclose(to_host(found), expected, rtol=1e-9)
    by_columns = solve_triangular(put(np.asfortranarray(triangle)), put(right), lower=True)
    expected = scipy.linalg.solve_triangular(triangle, right, lower=True)
    np.testing.assert_allclose(to_host(by_columns), expected, rtol=1e-9)


@pytest.mark.parametrize("orders", list(itertools.product("CF", repeat=3)), ids="".join)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_product_is_added_and_taken_away(put: Put, orders: tuple[str, str, str], sign: float) -> None:
    rng = np.random.default_rng(0)
    shapes = (3, 4), (3, 5), (5, 4)
    total, a, b = (np.array(rng.standard_normal(s), order=o) for s, o in zip(shapes, orders, strict=True))  # type: ignore[call-overload]
    expected = total + sign * (a @ b)
    found = add_product(put(total), put(a), put(b), sign=sign)
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_square_is_added_to_the_lower_triangle(put: Put, order: Any, sign: float) -> None:
    rng = np.random.default_rng(0)
    a = np.array(rng.standard_normal((4, 6)), order=order)
    whole = rng.standard_normal((4, 4))
    total = whole + whole.T
    expected = np.tril(total + sign * (a @ a.T))
    found = add_square(put(np.tril(total)), put(a), sign=sign)
    np.testing.assert_allclose(np.tril(to_host(found)), expected, rtol=1e-12)


def test_a_product_of_parts_of_arrays_is_added() -> None:
    whole = np.arange(96.0).reshape(8, 12)
    total, a, b = whole[:3, 1:5].copy(), whole[2:5, ::2], whole[1:7, 3:7]
    expected = total + a @ b
    np.testing.assert_allclose(add_product(total, a, b), expected, rtol=1e-12)


def test_the_host_has_no_limit_of_memory() -> None:
    limit_memory("cpu", 1)
    assert to_device(np.ones(3), "cpu").sum() == 3


@pytest.mark.gpu
def test_a_device_has_a_limit_of_memory() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not has_gpu():
        pytest.skip("CuPy finds no GPU")
    pool = cupy.get_default_memory_pool()
    limit_memory("cuda", 2**20)
    try:
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.zeros(2**20)
    finally:
        pool.set_limit(size=0)
