"""What a wording counts where all are read together."""

import numpy as np
import pytest

from lincorr.scores.wordings import Wording, Wordings


def shares(*scores: float | None) -> tuple[float, ...]:
    names = [f"toy.{i}" for i in range(len(scores))]
    found = [Wording(name, "", "", {"vocabulary": r}) for name, r in zip(names, scores, strict=True)]
    return Wordings("toy", tuple(found), names[0]).shares


def test_shares_are_the_inverse_variances_of_noisy_copies_of_one_map():
    """Logits are one signal of variance 1 and noise of another variance each: shares are 1 / noise."""
    noise = np.array([0.1, 0.5, 2.0])
    explained = 1 / (1 + noise)  # r²: the share of the variance that is signal
    found = np.array(shares(*np.sqrt(explained)))
    np.testing.assert_allclose(found / found.sum(), (1 / noise) / (1 / noise).sum())


def test_a_wording_that_predicts_nothing_counts_nothing():
    assert shares(-0.2, 0.0, 0.5)[:2] == (0.0, 0.0)


@pytest.mark.parametrize("scores", [(None, 0.9, 0.5), (-0.1, 0.0, -0.9), (0.9,) * 3])
def test_all_count_alike_where_one_is_not_known_or_none_predicts(scores):
    assert len(set(shares(*scores))) == 1
    assert shares(*scores)[0] > 0


def test_a_perfect_map_has_a_finite_share():
    assert np.isfinite(shares(1.0, 0.5)).all()
