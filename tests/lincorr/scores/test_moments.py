"""Scores against SciPy's and scikit-learn's, in any array library."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lincorr.arrays import to_host
from lincorr.scores.bootstrap import share_intervals
from lincorr.scores.hits import hits
from lincorr.scores.moments import Correlation, CrossMoments, Truth, deviation
from lincorr.solvers import gram

Floats = NDArray[np.float64]


def columns(n: int, q: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Predictions and truths that agree more or less, of different means and scales."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal((n, q)) * np.logspace(-2, 2, q) + rng.normal(0, 100, q)
    predicted = true + rng.standard_normal((n, q)) * np.logspace(-2, 2, q) * rng.uniform(0, 2, q)
    return predicted, true


@pytest.mark.parametrize("n", [2, 3, 200])
def test_pearson_is_scipys(xp: Any, n: int) -> None:
    predicted, true = columns(n, 6)
    r = to_host(Correlation.of(xp.asarray(predicted), xp.asarray(true)).pearson())
    np.testing.assert_allclose(r, scipy.stats.pearsonr(predicted, true, axis=0).statistic, atol=1e-10)


def test_r2_is_scikit_learns(xp: Any) -> None:
    predicted, true = columns(200, 6)
    r2 = to_host(Correlation.of(xp.asarray(predicted), xp.asarray(true)).r2())
    expected = sklearn.metrics.r2_score(true, predicted, multioutput="raw_values")
    np.testing.assert_allclose(r2, expected, rtol=1e-9)


@given(cuts=st.lists(st.integers(1, 59), unique=True, max_size=6), order=st.randoms())
def test_blocks_merge_in_any_order(cuts: list[int], order: Any) -> None:
    predicted, true = columns(60, 4)
    edges = [0, *sorted(cuts), 60]
    blocks = [Correlation.of(predicted[a:b], true[a:b]) for a, b in itertools.pairwise(edges)]
    order.shuffle(blocks)
    merged = blocks[0]
    for block in blocks[1:]:
        merged = merged.merge(block)
    assert merged.count == 60
    np.testing.assert_allclose(merged.pearson(), scipy.stats.pearsonr(predicted, true).statistic, atol=1e-10)
    np.testing.assert_allclose(
        merged.r2(), sklearn.metrics.r2_score(true, predicted, multioutput="raw_values"), rtol=1e-8
    )


def products_of(x: Floats, y: Floats) -> dict[str, Floats]:
    """NumPy's centred sums of products of whole columns."""
    n, k = x.shape
    whole = np.cov(np.hstack([x, y]).T, bias=True) * n
    return {"xx": whole[:k, :k], "yy": whole[k:, k:], "xy": whole[:k, k:]}


@pytest.mark.parametrize("kind", [Correlation, CrossMoments, gram.Moments])
@given(cuts=st.sets(st.integers(1, 59), min_size=2, max_size=6), data=st.data())
def test_any_tree_of_merges_gives_numpys_moments(kind: Any, cuts: set[int], data: st.DataObject) -> None:
    """Whatever the split, and whichever neighbours merge first: associative up to rounding."""
    x, y = columns(60, 4, seed=1)
    blocks = [kind.of(x[a:b], y[a:b]) for a, b in itertools.pairwise([0, *sorted(cuts), 60])]
    while len(blocks) > 1:
        i = data.draw(st.integers(0, len(blocks) - 2))
        blocks[i : i + 2] = [blocks[i].merge(blocks[i + 1])]
    [merged] = blocks
    assert merged.count == 60
    np.testing.assert_allclose(merged.mean_x, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(merged.mean_y, y.mean(axis=0), rtol=1e-13)
    scale = {"x": x.std(axis=0), "y": y.std(axis=0)}
    for name, expected in products_of(x, y).items():
        if not hasattr(merged, name):  # gram's moments have no yy
            continue
        units = 60 * np.outer(scale[name[0]], scale[name[1]])
        ratio = expected / units
        if kind is Correlation:
            ratio, units = np.diagonal(ratio), np.diagonal(units)
        np.testing.assert_allclose(getattr(merged, name) / units, ratio, atol=1e-11)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.5])
def test_a_column_that_does_not_vary_has_no_score(xp: Any, constant: float) -> None:
    predicted, true = columns(33, 3)
    true[:, 1] = constant
    predicted[:, 2] = constant
    score = Correlation.of(xp.asarray(predicted), xp.asarray(true))
    assert np.isnan(to_host(score.pearson())).tolist() == [False, True, True]
    assert np.isnan(to_host(score.r2())).tolist() == [False, True, False]  # R² of a constant guess is known


def test_columns_without_a_score_are_left_out_of_the_mean(xp: Any) -> None:
    predicted, true = columns(50, 3)
    true[:, 1] = 7.0
    r = [scipy.stats.pearsonr(predicted[:, j], true[:, j]).statistic for j in (0, 2)]
    assert Truth.of(xp.asarray(true)).mean_pearson(xp.asarray(predicted)) == pytest.approx(np.mean(r))


def test_mean_of_nothing_is_nan(xp: Any) -> None:
    assert math.isnan(Truth.of(xp.ones((5, 2))).mean_pearson(xp.ones((5, 2))))


def test_the_deviation_is_numpys_and_that_of_one_value_unknown(xp: Any) -> None:
    values = xp.asarray([0.5, math.nan, 0.75, -1.0])
    assert deviation(values) == pytest.approx(np.nanstd(to_host(values)))
    assert [deviation(values[:count]) for count in range(3)] == [None] * 3


@given(n=st.integers(3, 40), m=st.integers(1, 6), q=st.integers(1, 12), seed=st.integers(0, 9))
def test_correlation_through_a_readout_is_that_of_the_outputs(n: int, m: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, targets, readout = (rng.standard_normal(shape) for shape in ((n, m), (n, m), (q, m)))
    outputs = scipy.stats.pearsonr(predicted @ readout.T, targets @ readout.T).statistic
    assert Truth.of(targets, readout).mean_pearson(predicted) == pytest.approx(np.mean(outputs), abs=1e-9)


def test_readout_form_leaves_zero_rows_out(xp: Any) -> None:
    rng = np.random.default_rng(0)
    predicted, targets, readout = (rng.standard_normal(shape) for shape in ((20, 3), (20, 3), (4, 3)))
    readout[2] = 0.0
    kept = readout[[0, 1, 3]]
    expected = np.mean(scipy.stats.pearsonr(predicted @ kept.T, targets @ kept.T).statistic)
    truth = Truth.of(xp.asarray(targets), xp.asarray(readout))
    assert truth.mean_pearson(xp.asarray(predicted)) == pytest.approx(expected)


# --- hit@k --------------------------------------------------------------------------------------------

WEIGHTS = np.array(
    [
        [9.0, 5.0, 3.0, 1.0],
        [1.0, 1.0, 1.0, 0.0],
        [-4.0, -3.0, -2.0, -1.0],
    ]
)


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ({0: [0]}, {1: 1.0, 2: 1.0, 3: 1.0}),
        ({0: [1]}, {1: 0.0, 2: 1.0, 3: 1.0}),
        ({0: [3]}, {1: 0.0, 2: 0.0, 3: 0.0}),
        ({0: [2, 3]}, {1: 0.0, 2: 0.0, 3: 1.0}),  # the stronger of two right answers counts
        ({0: [0, 3]}, {1: 1.0, 2: 1.0, 3: 1.0}),
        ({0: [1, 0, 2]}, {1: 1.0, 2: 1.0, 3: 1.0}),
        ({1: [0]}, {1: 0.0, 2: 0.0, 3: 1.0}),  # ties count against us
        ({1: [0, 1]}, {1: 0.0, 2: 1.0, 3: 1.0}),  # but not those with a right answer
        ({2: [3]}, {1: 1.0, 2: 1.0, 3: 1.0}),  # largest, not largest in size
        ({0: [0], 1: [3], 2: [2]}, {1: 1 / 3, 2: 2 / 3, 3: 2 / 3}),
    ],
)
def test_hit_at_k(truth: dict[int, list[int]], expected: dict[int, float]) -> None:
    found = hits(WEIGHTS, truth, ks=(1, 2, 3))
    assert found.at == pytest.approx(expected)
    assert found.of == len(truth)


def test_hit_rates_have_the_interval_of_their_shares() -> None:
    rng = np.random.default_rng(0)
    weights, right = rng.standard_normal((40, 9)), rng.integers(9, size=40)
    found = hits(weights, {row: [int(column)] for row, column in enumerate(right)})
    order = np.argsort(-weights, axis=1)
    for k in (1, 3, 5):
        hit = (order[:, :k] == right[:, None]).any(axis=1)
        [low], [high] = share_intervals(hit[:, None])
        assert (found.low[k], found.high[k]) == (low, high)
        assert low < found.at[k] < high


def test_no_question_no_hit_rate() -> None:
    found = hits(WEIGHTS, {})
    assert found.of == 0
    assert all(math.isnan(rate) for rate in (*found.at.values(), *found.chance.values()))


@pytest.mark.parametrize("truth", [{0: [4]}, {0: [1, 5]}, {0: [0, 1, 2, 3, 4]}, {0: [2], 1: [0, 3, 4]}])
def test_chance_is_what_all_orders_of_the_weights_give(truth: dict[int, list[int]]) -> None:
    orders = [np.array([order, order], float) for order in itertools.permutations(range(6))]
    for k in (1, 3, 5):
        rates = [hits(weights, truth, ks=(k,)).at[k] for weights in orders]
        assert hits(orders[0], truth, ks=(k,)).chance[k] == pytest.approx(np.mean(rates))


def test_weights_that_are_no_numbers_are_no_hits():
    assert hits(np.full((2, 4), np.nan), {0: [1], 1: [2]}, ks=(1, 3)).at == {1: 0.0, 3: 0.0}


def test_more_places_than_columns_are_always_hit() -> None:
    found = hits(WEIGHTS, {0: [3]}, ks=(5,))
    assert found.at == found.chance == {5: 1.0}


@given(st.integers(0, 99))
def test_hits_are_scikit_learns_top_k_accuracy_where_nothing_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, right = rng.standard_normal((12, 7)), rng.integers(7, size=12)
    found = hits(weights, {row: [int(column)] for row, column in enumerate(right)})
    for k, rate in found.at.items():
        assert rate == pytest.approx(
            sklearn.metrics.top_k_accuracy_score(right, weights, k=k, labels=np.arange(7))
        )


def test_a_readout_in_float32_moves_the_mean_r_by_less_than_a_millionth(xp: Any) -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal(48)  # what all logits share, as those of a model do
    readout = (5 * common + rng.standard_normal((20_000, 48))).astype(np.float32)
    spread = np.geomspace(1, 1e-4, 48)
    x = rng.standard_normal((400, 48)) * spread
    y = x + 0.3 * rng.standard_normal((400, 48)) * spread + 3
    moments = CrossMoments.of(xp.asarray(x), xp.asarray(y))
    maps = [(xp.asarray(w * np.eye(48) + 0.1 * rng.standard_normal((48, 48))), xp.zeros(48)) for w in (1, 2)]
    rough = moments.correlations(maps, xp.asarray(readout))
    exact = [moments.correlation(*one, xp.asarray(readout.astype(np.float64))) for one in maps]
    for one, right, (w, _) in zip(rough, exact, maps, strict=True):
        r, expected = to_host(one.pearson()), to_host(right.pearson())
        predicted, true = x @ to_host(w) @ readout[:50].T.astype(float), y @ readout[:50].T.astype(float)
        np.testing.assert_allclose(expected[:50], scipy.stats.pearsonr(predicted, true).statistic, atol=1e-9)
        np.testing.assert_allclose(r, expected, atol=2e-5)
        assert r.mean() == pytest.approx(expected.mean(), abs=1e-6)
