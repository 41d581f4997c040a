"""The interval of the mean r against rows that are really drawn again, SciPy's, and a known truth."""

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from lincorr.arrays import to_host
from lincorr.scores.bootstrap import mean_interval, replicated_pearson, row_counts, share_intervals
from tests.lincorr.solvers.problems import Put

Floats = NDArray[np.float64]


def pairs(n: int, q: int, rho: float = 0.8, seed: int = 0) -> tuple[Floats, Floats]:
    """Normal predictions and truths of correlation `rho` in every column, of other means and scales."""
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, n, q))
    y = rho * x + math.sqrt(1 - rho**2) * noise
    return x * np.logspace(-1, 2, q) + 1e3, y * np.logspace(3, -1, q) - 1e3


def interval(predicted: Floats, true: Floats, replicates: int = 400, seed: int = 0) -> tuple[float, float]:
    return mean_interval(replicated_pearson(predicted, true, row_counts(len(true), replicates, seed=seed)))


@pytest.mark.parametrize("n", [12, 1100])  # one block of rows, and two
def test_a_replicate_is_the_r_of_the_drawn_rows(put: Put, n: int) -> None:
    predicted, true = pairs(n, 3)
    counts = row_counts(n, 5, seed=1)
    found = to_host(replicated_pearson(put(predicted), put(true), counts))
    for replicate, drawn in zip(found, counts, strict=True):
        rows = np.repeat(np.arange(n), drawn)
        expected = scipy.stats.pearsonr(predicted[rows], true[rows], axis=0).statistic
        np.testing.assert_allclose(replicate, expected, atol=1e-9)


def test_rows_are_drawn_as_often_as_by_chance() -> None:
    counts = row_counts(200, 2000)
    assert (counts.sum(axis=1) == 200).all()
    expected = scipy.stats.binom(200, 1 / 200).pmf(np.arange(5)) * counts.size
    seen = np.bincount(counts.ravel(), minlength=5)[:5]
    np.testing.assert_allclose(seen, expected, rtol=0.03)
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.15)  # every row alike


def test_a_seed_gives_the_same_draw() -> None:
    np.testing.assert_array_equal(row_counts(30, 4), row_counts(30, 4))
    assert (row_counts(30, 4) != row_counts(30, 4, seed=1)).any()


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    predicted, true = pairs(150, 1)

    def r(x: Floats, y: Floats, axis: int) -> Floats:
        found: Floats = scipy.stats.pearsonr(x, y, axis=axis).statistic
        return found

    expected = scipy.stats.bootstrap(
        (predicted[:, 0], true[:, 0]), r, paired=True, method="percentile", n_resamples=4000, rng=3
    ).confidence_interval
    low, high = interval(predicted, true, replicates=4000)
    assert low == pytest.approx(expected.low, abs=0.01)
    assert high == pytest.approx(expected.high, abs=0.01)


def test_the_mean_over_columns_keeps_their_dependence() -> None:
    """Columns that are one another's copies are no more certain than one of them."""
    predicted, true = pairs(100, 1)
    alone, copied = interval(predicted, true), interval(np.tile(predicted, 9), np.tile(true, 9))
    assert copied == pytest.approx(alone)
    low, high = interval(*pairs(100, 9))
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        low, high = interval(*pairs(120, 4, rho=0.6, seed=seed), replicates=200, seed=seed)
        covered += low <= 0.6 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_columns_without_variance_are_left_out() -> None:
    predicted, true = pairs(80, 2)
    nothing = np.full((80, 1), 0.1)
    with_constants = interval(np.hstack([predicted, nothing]), np.hstack([true, true[:, :1]]))
    assert with_constants == pytest.approx(interval(predicted, true))
    assert all(map(math.isnan, interval(nothing, true[:, :1])))


def test_two_rows_are_enough_to_ask() -> None:
    """Half of the replicates draw one row twice and have no r."""
    low, high = interval(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]))
    assert (low, high) == pytest.approx((1.0, 1.0))


# --- shares ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "right"), [(127, 91), (57, 53), (20, 9)])
def test_the_interval_of_a_share_is_that_of_scipys_bootstrap(n: int, right: int) -> None:
    found = np.arange(n) < right
    expected = scipy.stats.bootstrap(
        (found,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = share_intervals(found[:, None])
    # the ends are quantiles of 400 draws, in steps of 1/n
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=0.015 + 1 / n)


def test_the_interval_of_a_share_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    for n, share in ((127, 0.4), (127, 0.72), (428, 0.93)):
        low, high = share_intervals(rng.random((n, 1000)) < share)
        assert 0.92 < ((low <= share) & (share <= high)).mean() < 0.975


def test_of_few_there_is_no_interval_and_of_equals_it_is_a_point() -> None:
    assert all(np.isnan(end).all() for end in share_intervals(np.ones((4, 2), bool)))
    low, high = share_intervals(np.tile([[True, False]], (5, 1)))
    np.testing.assert_array_equal([low, high], [[1, 0], [1, 0]])
