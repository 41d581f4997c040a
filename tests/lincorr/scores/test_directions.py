"""Restricted maps, against regressions on the chosen directions and maps that share them by construction."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from lincorr.scores.directions import directions, fewest, r_by_rank, under
from lincorr.scores.moments import CrossMoments


def sources(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Correlated columns of different sizes, with means."""
    return np.asarray(
        rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    )


def r_of(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([pearsonr(p, t).statistic for p, t in zip(predicted.T, true.T, strict=True)]))


def test_a_restriction_is_the_regression_of_reduced_rank() -> None:
    """Of a least-squares map: SciPy's SVD of its predictions is the best fit of rank k to them."""
    rng = np.random.default_rng(0)
    x = sources(rng, 200, 6)
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(200, 4))
    xc = x - x.mean(axis=0)
    weights = np.linalg.lstsq(xc, y - y.mean(axis=0), rcond=None)[0] / y.std(axis=0)
    found = directions(np.cov(x.T, bias=True), weights)
    left, values, right = scipy.linalg.svd(xc @ weights, full_matrices=False)
    for k in range(1, 5):
        best = left[:, :k] * values[:k] @ right[:k]
        assert xc @ found.read[:, :k] @ (found.write[:, :k].T @ weights) == pytest.approx(best, abs=1e-9)


def test_r_of_every_rank_is_that_of_its_predictions() -> None:
    rng = np.random.default_rng(1)
    x, weights = sources(rng, 80, 7), rng.normal(size=(7, 3))
    y = x @ weights + 5 * rng.normal(size=(80, 3))
    other = sources(rng, 90, 7)
    found = under(directions(np.cov(x.T), weights), np.cov(other.T))
    r = r_by_rank(found, weights, CrossMoments.of(x, y))
    for k in range(1, len(r) + 1):
        predicted = x @ found.read[:, :k] @ found.write[:, :k].T @ weights
        assert r[k - 1] == pytest.approx(r_of(predicted, y), abs=1e-9)


def test_under_another_covariance_a_map_keeps_what_the_directions_see() -> None:
    """Least squares from what is read to what the whole map predicts, by NumPy."""
    rng = np.random.default_rng(2)
    x, weights = sources(rng, 300, 6), rng.normal(size=(6, 5))
    shared = directions(np.cov(sources(rng, 300, 6).T), rng.normal(size=(6, 4)))
    found = under(shared, np.cov(x.T, bias=True))
    xc = x - x.mean(axis=0)
    for k in range(1, 5):
        seen = xc @ shared.read[:, :k]
        expected = seen @ np.linalg.lstsq(seen, xc @ weights, rcond=None)[0]
        assert xc @ found.read[:, :k] @ (found.write[:, :k].T @ weights) == pytest.approx(expected, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    maps=st.integers(1, 4),
    k=st.integers(1, 4),
    outputs=st.integers(1, 5),
    spare=st.integers(1, 5),
)
def test_maps_that_share_k_directions_need_just_these(
    seed: int, maps: int, k: int, outputs: int, spare: int
) -> None:
    rng = np.random.default_rng(seed)
    width = k + spare
    shared = rng.normal(size=(width, k))
    weights = [shared @ rng.normal(size=(k, outputs)) for _ in range(maps)]
    rows = [sources(rng, 60, width) for _ in range(maps)]
    moments = [CrossMoments.of(x, x @ w) for x, w in zip(rows, weights, strict=True)]
    pooled = directions(np.mean([m.xx / m.count for m in moments], axis=0), np.concatenate(weights, axis=1))
    needed = min(k, maps * outputs)
    curves = [r_by_rank(under(pooled, m.xx / m.count), w, m) for m, w in zip(moments, weights, strict=True)]
    length = min(map(len, curves))
    r = np.array([curve[:length] for curve in curves])
    assert length == min(width, maps * outputs)
    assert r[:, needed - 1] == pytest.approx(1.0, abs=1e-6)  # the truth is the map's own prediction
    assert needed == 1 or r[:, needed - 2].min() < 1 - 1e-9


def test_maps_that_share_nothing_need_the_sum() -> None:
    rng = np.random.default_rng(3)
    axes = np.eye(6)
    weights = [axes[:, :2] @ rng.normal(size=(2, 4)), axes[:, 2:5] @ rng.normal(size=(3, 4))]
    x = rng.normal(size=(500, 6))
    moments = [CrossMoments.of(x, x @ w) for w in weights]
    covariance = np.cov(x.T, bias=True)
    alone = [r_by_rank(directions(covariance, w), w, m) for w, m in zip(weights, moments, strict=True)]
    assert [fewest(r[None], np.ones(1), 0.999999) for r in alone] == [2, 3]
    shared = directions(covariance, np.concatenate(weights, axis=1))
    r = np.array([r_by_rank(shared, w, m) for w, m in zip(weights, moments, strict=True)])
    assert fewest(r, np.ones(2), 0.999999) == 5


def test_a_map_without_r_needs_no_number_of_directions() -> None:
    r = np.array([[0.5, 0.8], [np.nan, np.nan]])
    assert fewest(r, np.array([0.8, np.nan]), 0.99) is None
    assert fewest(r[:1], np.array([0.8]), 0.99) == 2
    assert fewest(-r[:1], np.array([-0.8]), 0.99) is None
