"""Centred maps: weights of every form less their rows' means, and the probabilities that do not see it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from lincorr.readout import Readout
from lincorr.solvers.centred import centred, centred_rows
from lincorr.solvers.result import HiddenMap, LinearMap, map_through
from lincorr.store.store import LogitStore
from tests.lincorr.solvers.problems import dense
from tests.lincorr.store.small_store import make
from tests.lincorr.store.test_maps import dense_map, diagnosis

Floats = NDArray[np.floating]


def through_hidden(seed: int, *, scale: float = 1.0, bias: bool = True) -> LinearMap:
    rng = np.random.default_rng(seed)
    head = Readout(rng.standard_normal((7, 3)), rng.standard_normal(7) if bias else None, scale)
    targets = np.array([5, 0, 2, 6])
    hidden = HiddenMap(
        rng.standard_normal((3, 3)),
        rng.standard_normal(3),
        rng.standard_normal((3, 3)),
        rng.standard_normal(3),
        head.columns(targets),
    )
    return map_through(
        hidden,
        head.columns(np.arange(7)),
        source_ids=np.arange(7),
        target_ids=targets,
        diagnosis=diagnosis(),
    )


def less_row_means(weights: Floats) -> Floats:
    return np.array([[weight - sum(row) / len(row) for weight in row] for row in weights])


def test_dense_weights_are_less_their_rows_means() -> None:
    fitted = dense_map()
    read = centred(fitted)
    np.testing.assert_allclose(dense(read), less_row_means(dense(fitted)), atol=1e-12)
    np.testing.assert_array_equal(read.target_ids, fitted.target_ids)


@given(st.integers(0, 99), st.sampled_from([1.0, 0.25]), st.booleans())
def test_a_map_through_hidden_states_stays_factors(seed: int, scale: float, bias: bool) -> None:
    fitted = through_hidden(seed, scale=scale, bias=bias)
    read = centred(fitted)
    np.testing.assert_allclose(dense(read), less_row_means(dense(fitted)), atol=1e-9)
    states = np.random.default_rng(seed + 1).standard_normal((5, 3))
    expected = less_row_means(fitted.predict_from_hidden(states))
    np.testing.assert_allclose(read.predict_from_hidden(states), expected, atol=1e-9)


def test_tiles_on_disk_are_less_their_rows_means(tmp_path: Path) -> None:
    url = tmp_path / "store.zarr"
    maps = make(url).maps
    weights = np.random.default_rng(1).standard_normal((6, 4))
    maps.create_tiles("lives-in", "domain", weights.shape, 3, "begun")
    for i in range(2):
        for j in range(2):
            tile = weights[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            maps.write_tile("lives-in", "domain", i, j, tile, "begun")
    maps.finish_tiles(
        "lives-in",
        "domain",
        source_ids=np.arange(6),
        target_ids=np.array([3, 11, 5, 0]),
        intercept=np.arange(4.0),
        diagnosis=diagnosis(),
        inputs="digest",
    )
    fitted = LogitStore.open(str(url)).maps.load("lives-in", "domain")
    read = centred(fitted)
    expected = less_row_means(weights)
    np.testing.assert_allclose(read.block([4, 1], [0, 3]), expected[np.ix_([4, 1], [3, 0])], atol=1e-12)
    logits = np.random.default_rng(2).standard_normal((5, 6))
    np.testing.assert_allclose(read.predict(logits), less_row_means(fitted.predict(logits)), atol=1e-12)


@pytest.mark.parametrize("fitted", [dense_map(), through_hidden(3)], ids=["dense", "factors"])
def test_probabilities_and_rankings_in_a_row_are_the_same(fitted: LinearMap) -> None:
    logits = np.random.default_rng(0).standard_normal((9, len(fitted.source_ids)))
    np.testing.assert_allclose(
        softmax(centred(fitted).predict(logits), axis=1), softmax(fitted.predict(logits), axis=1), atol=1e-9
    )
    for source in fitted.source_ids.tolist():
        strongest = [token for token, _ in centred(fitted).strongest_targets(source)]
        assert strongest == [token for token, _ in fitted.strongest_targets(source)]


def test_a_vector_added_to_every_column_is_not_read() -> None:
    fitted = dense_map()
    shift = np.random.default_rng(0).standard_normal((len(fitted.source_ids), 1)) * 100
    moved = replace(fitted, weights=dense(fitted) + shift)
    np.testing.assert_allclose(dense(centred(moved)), dense(centred(fitted)), atol=1e-9)
    assert [t for t, _ in moved.strongest_sources(11)] != [t for t, _ in fitted.strongest_sources(11)]
    assert [t for t, _ in centred(moved).strongest_sources(11)] == [
        t for t, _ in centred(fitted).strongest_sources(11)
    ]


def test_rows_of_logits_are_centred_alike() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 3))
    np.testing.assert_allclose(centred_rows(rows), less_row_means(rows), atol=1e-12)
