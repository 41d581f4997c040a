"""Hubs, against explicit loops and against random orders."""

import numpy as np
import pytest
from scipy.stats import binom

from lincorr.scores.hubs import HubCounts, count_hubs


@pytest.mark.parametrize("width", [1, 7, 40])
def test_counts_are_those_of_sorted_columns(width):
    weights = np.random.default_rng(0).normal(size=(23, 40))
    found = count_hubs((weights[:, at : at + width] for at in range(0, 40, width)), 5)
    counts = [0] * 23
    for column in range(40):
        strongest = sorted(range(23), key=lambda row: -weights[row, column])[:5]
        assert found.by_target[column].tolist() == strongest
        for row in strongest:
            counts[row] += 1
    assert found.counts.tolist() == counts
    assert found.expected == pytest.approx(np.mean(counts))


def test_a_planted_hub_comes_first():
    weights = np.random.default_rng(1).normal(size=(50, 60))
    weights[31] += 10
    found = count_hubs([weights], 3)
    assert found.strongest(1).tolist() == [31]
    assert found.counts[31] == 60 > found.bound


def test_fewer_sources_than_are_asked_for():
    found = count_hubs([np.arange(6.0).reshape(3, 2)], 5)
    assert (found.top, found.expected) == (3, 2.0)
    assert found.by_target.tolist() == [[2, 1, 0], [2, 1, 0]]
    assert found.counts.tolist() == [2, 2, 2]


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="no columns"):
        count_hubs([], 5)


def test_the_greatest_of_random_orders_seldom_passes_the_bound():
    random = np.random.default_rng(2)
    passed = greatest = 0
    for _ in range(400):
        found = count_hubs([random.normal(size=(30, 50))], 5)
        passed += found.counts.max() > found.bound
        greatest = max(greatest, int(found.counts.max()))
    assert 0 < passed <= 0.05 * 400 * 1.4  # a union bound: at most 1 in 20, and not far below
    assert greatest > found.bound


@pytest.mark.parametrize(
    ("sources", "targets", "top"), [(1, 3, 1), (5, 4, 5), (178, 189, 5), (3000, 700, 20)]
)
def test_the_bound_is_the_binomials_quantile(sources, targets, top):
    found = HubCounts(top, np.zeros(sources, np.int64), np.zeros((targets, top), np.int64))
    assert found.bound == binom.isf(0.05 / sources, targets, top / sources)
