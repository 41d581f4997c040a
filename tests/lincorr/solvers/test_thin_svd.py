"""The thin SVD of tall matrices, beside LAPACK's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lincorr.arrays import to_host
from lincorr.solvers import thin_svd as module
from lincorr.solvers.thin_svd import thin_svd


def matrix(n: int, k: int, condition: float, seed: int = 0) -> NDArray[np.float64]:
    """Make a matrix whose singular values fall evenly from 1 to 1 / condition."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((rows, k)))[0] for rows in (n, k))
    made: NDArray[np.float64] = left * np.logspace(0, -np.log10(condition), k) @ right.T
    return made


def check(x: NDArray[np.float64], left: Any, values: Any, right_t: Any) -> None:
    left, values, right_t = (to_host(a) for a in (left, values, right_t))
    small = 1e-13 * len(values)
    assert np.abs(left.T @ left - np.eye(len(values))).max() < small
    assert np.abs(right_t @ right_t.T - np.eye(len(values))).max() < small
    assert np.linalg.norm(left * values @ right_t - x) < small * np.linalg.norm(x)
    np.testing.assert_allclose(values, np.linalg.svd(x, compute_uv=False), atol=small * values[0])


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 5e5, 1e7, 1e12])
def test_agrees_with_lapack_to_rounding(xp: Any, condition: float) -> None:
    x = matrix(200, 20, condition)
    check(x, *thin_svd(xp.asarray(x)))


@given(n=st.integers(1, 60), k=st.integers(1, 12), exponent=st.floats(0, 14), seed=st.integers(0, 9))
def test_agrees_for_any_shape_and_condition(n: int, k: int, exponent: float, seed: int) -> None:
    x = matrix(max(n, k), k, 10**exponent, seed)[:n]
    check(x, *thin_svd(x))


@pytest.mark.parametrize("column", [0.0, 1.0], ids=["constant", "twice the same"])
def test_deficient_matrices_are_left_to_lapack(xp: Any, column: float) -> None:
    x = matrix(100, 6, 10.0)
    x[:, 3] = column * x[:, 1]
    check(x, *thin_svd(xp.asarray(x)))
    assert module._by_products(x) is None


def test_products_are_used_where_they_are_good_enough() -> None:
    assert module._by_products(matrix(200, 20, 1e5)) is not None
    assert module._by_products(matrix(200, 20, 1e7)) is None
