"""Singular values, against SciPy's and a power law that was put in."""

import numpy as np
import pytest
from scipy.linalg import svdvals

from lincorr.scores.singular_values import effective_rank, of_gram, power_law


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_they_are_scipys_from_either_side(shape: tuple[int, int]) -> None:
    a = np.random.default_rng(0).normal(size=shape)
    gram = a @ a.T if shape[0] < shape[1] else a.T @ a
    assert of_gram(gram) == pytest.approx(svdvals(a))


def test_the_effective_rank_counts_a_share_of_the_largest() -> None:
    values = np.array([100.0, 2.0, 1.0, 0.5, 0.0])
    assert [effective_rank(values, share) for share in (0.01, 0.001)] == [2, 4]
    assert effective_rank(np.zeros(3), 0.01) == 0


def test_a_power_law_is_found_in_its_range_only() -> None:
    index = np.arange(1, 101)
    values: np.ndarray = 7 * index**-0.6
    values[:9] *= 50
    values[60:] = 1e-9
    law = power_law(values, 60)
    assert law is not None
    assert (law.first, law.last) == (10, 60)
    assert law.exponent == pytest.approx(0.6)
    assert law.r2 == pytest.approx(1.0)


@pytest.mark.parametrize("values", [np.ones(18), np.zeros(50)])
def test_too_few_singular_values_follow_no_law(values: np.ndarray) -> None:
    assert power_law(values, len(values)) is None
