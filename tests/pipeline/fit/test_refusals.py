"""Out-of-core fits that are refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.store.compact import compact
from lincorr.testing import HiddenProblem, planted_store
from pipeline.fit import tiles
from pipeline.fit.problem import set_up
from tests.pipeline.fit.executors import Before
from tests.pipeline.fit.planted import P, Q, fit_inputs, planted, run, weights_of

pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.mark.parametrize("method", list(P))
def test_a_damaged_shard_is_refused(method, store_of):
    store = store_of(method)
    os.truncate(next(Path(store.url).glob("logits/source/c/1/*")), 99)
    with pytest.raises(StoreDamaged, match=r"shard 1 of template 'source' .* is damaged"):
        run(store, fit_inputs(method))


def test_a_lost_tile_is_named(store_of):
    store, inputs = store_of("tiled"), fit_inputs("tiled")

    def lose() -> None:
        Path(store.url, "scratch/toy-domain/factor/c/2/1").unlink()
        tiles._opened.cache_clear()

    losing = Before("solve", lose)
    with pytest.raises(StoreDamaged, match=r"tile \(2, 1\) of 'factor' in .* is missing; delete this folder"):
        run(store, inputs, losing)
    run(store, inputs)  # which makes it again
    assert weights_of(store.maps.load("toy", "domain-ridge")).shape == (P["tiled"], Q)


def test_a_lost_decomposition_is_named_and_made_again(store_of):
    store, inputs = store_of("gram"), fit_inputs("gram")
    run(store, inputs)
    cut, maps = set_up(store, inputs, "domain").cut, weights_of(store.maps.load("toy", "domain-ridge"))
    compact(store.url)
    with pytest.raises(LincorrError, match=r"decomposition in .* is missing; run `lincorr fit` again"):
        set_up(store, inputs, "domain")
    assert run(store, inputs) == []  # no map is fitted anew
    assert set_up(store, inputs, "domain").cut == cut
    np.testing.assert_array_equal(weights_of(store.maps.load("toy", "domain-ridge")), maps)


def test_a_damaged_tile_of_the_weights_is_refused(store_of):
    store, inputs = store_of("tiled"), fit_inputs("tiled")
    run(store, inputs)
    next(Path(store.url).glob("maps/toy/domain-ridge/tiles/c/1/*")).unlink()
    fitted = store.maps.load("toy", "domain-ridge")
    assert fitted.block([0], [0]).shape == (1, 1)
    with pytest.raises(StoreDamaged, match=r"weights in .* are damaged \(a tile is missing\)"):
        fitted.block([40], [0])


def test_a_source_that_does_not_vary_is_refused(tmp_path):
    made = planted("gram")
    flat = HiddenProblem(np.ones_like(made.source), made.target, made.source_head, made.target_head)
    store = planted_store(str(tmp_path / "flat.zarr"), flat)
    with pytest.raises(LincorrError, match="do not vary above their storage noise"):
        run(store, fit_inputs("gram"))
