"""The largest logits, against argmax in float64."""

import numpy as np
import pytest

from lincorr.readout import Readout
from lincorr.scores.largest import largest_logits
from tests.lincorr.solvers.problems import Put


@pytest.mark.parametrize("scale", [1.0, 0.0625, -1.0])
@pytest.mark.parametrize("biased", [False, True])
def test_they_are_those_of_float64(scale: float, biased: bool, put: Put) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5000, 24)).astype(np.float32)
    weight[4000:] = weight[:1000]  # equal ones in other panels, and
    weight[3000:4000, 0] += np.float32(1e-7)
    weight[3000:4000] *= 1 + np.float32(2.0**-23) * (weight[3000:4000] == weight[:1000])  # nearly equal ones
    bias = rng.standard_normal(5000).astype(np.float32) if biased else None
    head, hidden = Readout(weight, bias, scale), 10 * rng.standard_normal((400, 24))
    exact = head.as_float64().logits(hidden)
    found = exact[np.arange(400), largest_logits(head, put(hidden))]
    np.testing.assert_allclose(found, exact.max(axis=1), rtol=1e-13)


def test_what_float32_would_confuse_is_decided_in_float64() -> None:
    rng = np.random.default_rng(0)
    weight = np.repeat(rng.standard_normal((1, 64)), 6000, axis=0).astype(np.float32)
    weight[:, 1] += rng.integers(0, 8, size=6000).astype(np.float32) * np.float32(2.0**-20)
    hidden = rng.standard_normal((200, 64))
    head = Readout(weight)
    right = head.as_float64().logits(hidden).argmax(axis=1)
    confused = head.logits(hidden.astype(np.float32)).argmax(axis=1)
    assert (confused != right).mean() > 0.05
    np.testing.assert_array_equal(largest_logits(head, hidden), right)
