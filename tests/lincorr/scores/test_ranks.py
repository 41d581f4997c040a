"""Rank correlation against SciPy's, ties and all, in any array library."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lincorr.arrays import to_host
from lincorr.scores.ranks import average_ranks, spearman
from tests.lincorr.solvers.problems import Put


@given(arrays(np.float64, (9, 2), elements=st.sampled_from([-2.5, -0.0, 0.0, 1.0, 1e9, 1e-300])))
def test_equal_values_share_their_mean_rank(values: Any) -> None:
    np.testing.assert_array_equal(average_ranks(values), scipy.stats.rankdata(values, axis=0))


@pytest.mark.parametrize("n", [5, 500])
@pytest.mark.parametrize("digits", [0, 9], ids=["ties", "no ties"])
def test_spearman_is_scipys(put: Put, n: int, digits: int) -> None:
    rng = np.random.default_rng(n)
    true = (n * rng.uniform(size=(n, 3))).round(digits)
    predicted = (true + n * rng.uniform(size=(n, 3))).round(digits)
    rho = to_host(spearman(put(predicted), put(true)))
    expected = [scipy.stats.spearmanr(predicted[:, j], true[:, j]).statistic for j in range(3)]
    np.testing.assert_allclose(rho, expected, atol=1e-12)


def test_spearman_sees_order_only() -> None:
    x = np.random.default_rng(0).standard_normal((30, 1))
    assert spearman(np.exp(5 * x), x) == pytest.approx(1.0)
    assert spearman(-(x**3), x) == pytest.approx(-1.0)


def test_columns_that_vary_by_rounding_only_have_no_rank_correlation(put: Put) -> None:
    rng = np.random.default_rng(0)
    constant = 1234.5 + 1e-12 * rng.standard_normal((40, 1))
    varied = rng.standard_normal((40, 1))
    for predicted, true in ((constant, varied), (varied, constant)):
        assert np.isnan(to_host(spearman(put(predicted), put(true)))).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_values_that_only_float64_tells_apart_are_ranked(scale: float) -> None:
    rng = np.random.default_rng(0)
    near = 1 + 2.0**-50 * rng.integers(0, 300, size=(3000, 2))  # in float32 all of them are 1
    values = scale * np.concatenate([near, -near, 1e-3 * rng.standard_normal((3000, 2)), [[0.0, -0.0]] * 3])
    rng.shuffle(values)
    np.testing.assert_array_equal(average_ranks(values), scipy.stats.rankdata(values, axis=0))
    if scale == 1.0:
        other = rng.standard_normal(values.shape)
        expected = [scipy.stats.spearmanr(values[:, j], other[:, j]).statistic for j in range(2)]
        np.testing.assert_allclose(spearman(values, other), expected, atol=1e-12)


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("2,1", 2), (None, 5), ("", 5), ("many", 5)])
def test_columns_are_ranked_by_as_many_threads_as_libraries_compute_with(
    told: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    asked: list[int] = []

    def pool(count: int) -> ThreadPoolExecutor:
        asked.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr("lincorr.scores.ranks.ThreadPoolExecutor", pool)
    average_ranks(np.eye(4))
    assert asked == [threads]
