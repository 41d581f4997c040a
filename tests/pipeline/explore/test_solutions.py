"""Every penalty of a decomposed problem, against solving it for each."""

from typing import Any

import numpy as np
import pytest

from lincorr.solvers.direct import direct
from lincorr.solvers.factored import factored
from lincorr.solvers.result import Factors
from lincorr.solvers.solved import Solved
from lincorr.solvers.spectrum import solve
from lincorr.testing import hidden_problem
from pipeline.explore.solutions import Solutions
from tests.lincorr.solvers.out_of_core import Case, by_gram

DATA = hidden_problem(60, 8, 30, 5, bias=True)
IDS: dict[str, Any] = {"source_ids": np.arange(30), "target_ids": np.arange(5)}


def by_direct():
    return direct(DATA.source_logits(), DATA.target_logits(), storage_eps=1e-12, **IDS)


def by_factored():
    heads = DATA.source_head, DATA.target_head
    return factored(DATA.source, DATA.target, *heads, storage_eps=1e-12, **IDS)


def by_blocks():
    return by_gram(Case(DATA.source_logits(), DATA.target_logits(), 1e-12), np.asarray)


@pytest.mark.parametrize("root", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("make", [by_direct, by_factored, by_blocks])
def test_each_penalty_is_what_solving_for_it_gives(make, root):
    problem = make()
    expected = solve(problem, root).weights[:, :]
    read = Solutions.of(problem, lambda: DATA.target_head).at(root)
    weights = read.fitted.weights
    assert isinstance(weights, Factors)
    np.testing.assert_allclose(weights[:, :], expected, atol=1e-9 * np.abs(expected).max())
    assert (read.wide is not None) == (make is by_factored)
    if read.wide is not None:
        np.testing.assert_allclose(read.wide()[:, :], expected, atol=1e-9 * np.abs(expected).max())
    centred = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(read.column(3, None, is_centred=True), centred[:, 3], atol=1e-9)
    np.testing.assert_allclose(read.column(3, [7, 2], is_centred=True), centred[[7, 2], 3], atol=1e-9)
    np.testing.assert_allclose(read.row(7, every=False, is_centred=True), centred[7], atol=1e-9)


def test_a_map_of_one_penalty_has_no_others():
    fitted = solve(by_direct(), 0.1)
    with pytest.raises(TypeError, match="solved for one penalty"):
        Solutions.of(Solved(fitted), lambda: DATA.target_head)
