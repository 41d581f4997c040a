"""Tiled ridge, tile by tile, against an explicit ridge."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lincorr.arrays import (
    to_host,
)
from lincorr.errors import LincorrError
from lincorr.solvers import tiled
from lincorr.solvers.cutoff import EPS64
from lincorr.solvers.products import gram_tile
from tests.lincorr.solvers.out_of_core import CASES, Case, case, every_case, explicit_ridge, parts
from tests.lincorr.solvers.problems import Floats, Put, centred, error, matrix


def by_tiles(
    problem: Case, penalty: float, put: Put, *, size: int = 7, order: int | None = None
) -> tuple[Floats, dict[tuple[int, int], Any]]:
    """Ridge weights by the tiled schedule; `order` seeds the order in which independent tasks run."""
    rng = np.random.default_rng(order)

    def tasks(found: list[Any]) -> list[Any]:
        return found if order is None else [found[i] for i in rng.permutation(len(found))]

    x, y = put(centred(problem.source)), put(centred(problem.target))
    source, target = parts(x.shape[1], size), parts(y.shape[1], 3)
    rows = parts(x.shape[0], 11)

    def product(a: slice, other: Any, b: slice) -> Any:
        return gram_tile((x[block, a], other[block, b]) for block in rows)

    count = len(source)
    G = {(i, j): product(source[i], x, source[j]) for i, j in tasks(lower(count))}
    L: dict[tuple[int, int], Any] = {}

    def read(i: int, j: int) -> Any:
        return L[i, j]

    for j in range(count):
        here = tiled.add_to_diagonal(G[j, j], penalty)
        L[j, j] = tiled.factor_diagonal(tiled.downdate(here, j, j, read), j)
        for i in tasks(list(range(j + 1, count))):
            L[i, j] = tiled.factor_below(tiled.downdate(G[i, j], i, j, read), L[j, j])
    blocks: dict[int, list[Any]] = {}
    numbers = list(range(len(target)))
    for some in tasks([part for part in (numbers[::2], numbers[1::2]) if part]):  # two tasks
        solved = tiled.forward(([product(block, y, target[c]) for c in some] for block in source), read)
        assert list(tiled.backward(solved, read)) == list(reversed(range(count)))
        blocks |= {c: [row[k] for row in solved] for k, c in enumerate(some)}
    whole = [np.concatenate([to_host(tile) for tile in blocks[c]]) for c in range(len(target))]
    return np.concatenate(whole, axis=1), L


def lower(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(i + 1)]


@pytest.mark.parametrize("root_penalty", [1e-3, 0.1])
@every_case
def test_tiled_ridge_is_that_of_the_augmented_system(put: Put, name: str, root_penalty: float) -> None:
    problem = CASES[name]
    penalty = float((root_penalty * np.linalg.norm(centred(problem.source), 2)) ** 2)
    found, _ = by_tiles(problem, penalty, put)
    assert error(found, explicit_ridge(problem, penalty)) < 1e3 * EPS64 * (1 + 1 / root_penalty**2)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 30), p=st.integers(1, 40), q=st.integers(1, 7), size=st.integers(1, 15))
def test_tiled_ridge_in_tiles_of_any_size(n: int, p: int, q: int, size: int) -> None:
    problem = case(n, p, q)
    found, L = by_tiles(problem, 0.3, np.asarray, size=size)
    assert error(found, explicit_ridge(problem, 0.3)) < 1e-10
    assert all(np.array_equal(tile, np.tril(tile)) for (i, j), tile in L.items() if i == j)


def test_the_order_of_tasks_changes_no_bit() -> None:
    problem = case(50, 40, 8)
    first, second = (by_tiles(problem, 0.3, np.asarray, size=6, order=order)[0] for order in (1, 2))
    assert first.tobytes() == second.tobytes()


def test_singular_tiles_are_named_with_the_mend() -> None:
    problem = CASES["duplicated column"]
    with pytest.raises(
        LincorrError, match=r"not positive definite at diagonal tile 0 .* larger fit\.penalty"
    ):
        by_tiles(problem, -1e-3, np.asarray)


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_tiles_are_read_in_the_order_that_is_told(tiles: int) -> None:
    rng, asked = np.random.default_rng(0), []
    lower = {
        (i, j): np.tril(rng.standard_normal((3, 3))) + 4 * np.eye(3)
        for i in range(tiles)
        for j in range(i + 1)
    }

    def read(i: int, j: int) -> Floats:
        asked.append((i, j))
        return lower[i, j]

    rows = tiled.forward(([rng.standard_normal((3, 2))] for _ in range(tiles)), read)
    for _ in tiled.backward(rows, read):
        pass
    assert asked == tiled.order_of_solving(tiles)
    asked.clear()
    for i, j in lower:
        tiled.downdate(rng.standard_normal((3, 3)), i, j, read)
        if i > j:
            read(j, j)
        assert asked == tiled.order_of_factoring(i, j)
        asked.clear()


def test_the_largest_eigenvalue(put: Put) -> None:
    problem = matrix(100, 40, kappa=1e3)
    G = put(problem.T @ problem)
    start = put(np.random.default_rng(0).standard_normal((40, 8)))
    found = tiled.largest_eigenvalue(lambda block: G @ block, start)
    assert found == pytest.approx(np.linalg.norm(problem, 2) ** 2, rel=1e-2)
