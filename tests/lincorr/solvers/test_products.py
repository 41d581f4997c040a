"""Tiles of products, against whole products."""

from typing import Any

import numpy as np

from lincorr.arrays import (
    to_host,
)
from lincorr.solvers.products import Position, add_products, gram_tile, mirrored
from tests.lincorr.solvers.out_of_core import parts
from tests.lincorr.solvers.problems import Put


def test_a_gram_tile_of_one_panel_is_whole_and_symmetric(put: Put) -> None:
    blocks = [put(np.random.default_rng(i).standard_normal((5, 3))) for i in range(3)]
    rows = np.concatenate([to_host(block) for block in blocks])
    found = to_host(gram_tile((block, block) for block in blocks))
    np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-12)
    np.testing.assert_array_equal(found, found.T)


def test_tiles_of_products_are_those_of_all_rows(put: Put) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 5)), rng.standard_normal((11, 4))
    panels = {0: slice(0, 3), 1: slice(3, 5)}
    positions: list[Position] = [("gram", 0, 0), ("gram", 1, 0), ("cross", 1, 0), ("cross", 0, 1)]
    sums: dict[Position, Any] = dict.fromkeys(positions)
    for rows in parts(11, 4):
        left, right = ({k: put(side[rows, panel]) for k, panel in panels.items()} for side in (x, y))
        add_products(sums, left, right)
    for name, i, j in positions:
        other = x if name == "gram" else y
        found = mirrored(sums[name, i, j]) if name == "gram" and i == j else sums[name, i, j]
        np.testing.assert_allclose(to_host(found), x[:, panels[i]].T @ other[:, panels[j]], rtol=1e-12)
