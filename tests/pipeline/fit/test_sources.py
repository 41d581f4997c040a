"""A source that is shared between targets gives the same bits as one that is decomposed for each."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lincorr.readout import Readout
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import coordinates_of, factored
from lincorr.solvers.spectrum import coefficients
from lincorr.testing import hidden_problem, planted_store
from pipeline.fit import sources as decompositions
from pipeline.fit.sources import SourceCache

P, Q, ROWS = 7, 5, np.arange(20)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return planted_store(str(tmp_path / "planted.zarr"), hidden_problem(30, 6, P, Q))


@pytest.fixture
def decomposed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many source columns each decomposition had."""
    seen: list[int] = []
    real: Callable[..., Any] = direct

    def counted(source: np.ndarray, *args: Any, **named: Any) -> Any:
        seen.append(source.shape[1])
        return real(source, *args, **named)

    monkeypatch.setattr(decompositions, "direct", counted)
    return seen


def ask(shared: SourceCache, ids: list[int], target_ids: list[int], rows: np.ndarray = ROWS) -> Any:
    return shared.direct("source", "target", np.array(ids), np.array(target_ids), rows, rcond=None)


def test_a_source_is_decomposed_once_for_all_targets(store: Any, decomposed: list[int]) -> None:
    shared = SourceCache(store)
    first, second = ask(shared, [0, 1, 2], [0, 1]), ask(shared, [0, 1, 2], [3, 4, 2])
    assert decomposed == [3]
    assert first.target_ids.tolist() == [0, 1]  # the first is not touched by the second
    alone = ask(SourceCache(store), [0, 1, 2], [3, 4, 2])
    for root in (0.0, 0.03):
        assert np.array_equal(coefficients(second, root), coefficients(alone, root))
    assert np.array_equal(second.target_mean, alone.target_mean)


@pytest.mark.parametrize(
    ("ids", "rows"), [([0, 1, 3], ROWS), ([0, 2, 1], ROWS), ([0, 1, 2], ROWS[:-1]), ([0, 1, 2], ROWS + 1)]
)
def test_other_columns_or_rows_are_another_source(
    store: Any, decomposed: list[int], ids: list[int], rows: np.ndarray
) -> None:
    shared = SourceCache(store)
    ask(shared, [0, 1, 2], [0])
    found = ask(shared, ids, [0], rows)
    assert len(decomposed) == 2
    assert np.array_equal(
        coefficients(found, 0.0), coefficients(ask(SourceCache(store), ids, [0], rows), 0.0)
    )


def test_only_the_last_sources_are_kept(store: Any, decomposed: list[int]) -> None:
    shared = SourceCache(store)
    for ids in ([0, 1], [0, 1, 2], [0, 1], [0, 1, 2, 3], [0, 1], [0, 1, 2]):
        ask(shared, ids, [0])
    assert decomposed == [2, 3, 4, 3]  # [0, 1] was always among the last two


def test_a_shared_source_through_hidden_states_is_the_same_problem() -> None:
    one, other = hidden_problem(40, 6, 50, 4), hidden_problem(40, 6, 50, 3, seed=1)
    ids, four, three = np.arange(50), np.arange(4), np.arange(3)

    def fresh(target: Any, coordinates: Any = None) -> Any:
        head, hidden, target_ids = target
        return factored(
            one.source,
            hidden,
            one.source_head,
            head,
            source_ids=ids,
            target_ids=target_ids,
            storage_eps=1e-12,
            coordinates=coordinates,
        )

    first = fresh((one.target_head, one.target, four))
    alone = fresh((other.target_head, other.target, three), coordinates_of(one.source_head, one.source))
    shared = first.with_targets(other.target, other.target_head, three)
    for root in (0.0, 0.03):
        assert np.array_equal(coefficients(shared, root), coefficients(alone, root))
    weights = [problem.rows(coefficients(problem, 0.03), np.arange(5)) for problem in (shared, alone)]
    assert weights[0].shape == (5, 3)
    assert np.array_equal(*weights)


def test_the_whole_head_is_not_copied() -> None:
    head = hidden_problem(4, 3, 9, 2).source_head
    assert head.columns(np.arange(9)) is head
    for ids in (np.arange(9)[::-1], np.arange(8), np.array([0] * 9)):
        assert np.array_equal(head.columns(ids).weight, head.weight[ids])


def test_a_domain_does_not_turn_the_whole_head_into_float64() -> None:
    """The plan counts the columns of the fit alone: a large vocabulary may not fit beside them."""
    rng, tokens, width = np.random.default_rng(0), 20_000, 32
    states = {name: rng.standard_normal((60, width)).astype(np.float32) for name in ("source", "target")}
    head = Readout(rng.standard_normal((tokens, width)).astype(np.float32))
    store: Any = SimpleNamespace(
        identity=SimpleNamespace(precision="float32"),
        hidden=lambda name, rows: states[name][rows],
        readout=lambda: head,
    )
    ids, target_ids, every = np.arange(100), np.arange(40, 60), np.arange(tokens)

    def domain(shared: SourceCache) -> Any:
        return shared.factored("source", "target", ids, target_ids, np.arange(60), rcond=None)

    domain(SourceCache(store))  # what a first decomposition imports and keeps
    tracemalloc.start()
    try:
        alone = domain(SourceCache(store))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * tokens * width / 4
    both = SourceCache(store)
    assert both.columns(every) is both.columns(every)  # converted once
    assert np.array_equal(coefficients(domain(both), 0.03), coefficients(alone, 0.03))
