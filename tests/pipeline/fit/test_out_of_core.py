"""Out-of-core fits from a real store, against gelsd and explicit ridge."""

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from numpy.typing import NDArray

from lincorr.arrays import has_gpu
from lincorr.errors import LincorrError
from lincorr.scores.moments import finite_mean
from lincorr.solvers.direct import direct
from lincorr.solvers.spectrum import coefficients, ridge_path
from lincorr.store import scratch as scratch_module
from lincorr.store.store import LogitStore
from pipeline.fit import tiles
from pipeline.fit.problem import held_out_moments, set_up
from pipeline.fit.squares import SquareTiles
from pipeline.plan import memory as rules
from pipeline.plan.memory import ROW_BYTES
from pipeline.runtime import device as device_module
from tests.pipeline.fit.executors import Disorderly
from tests.pipeline.fit.planted import (
    METHODS,
    N_FIT,
    ROOT,
    WIDTH,
    P,
    Q,
    centred,
    error,
    fit_inputs,
    run,
    stored,
    weights_of,
)

pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.fixture
def other_device(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device that is not the host: what slips back to it, or to the default device, raises."""
    put = []

    def to_device(array: NDArray[Any], kind: str) -> Any:
        if kind == "cpu":
            return array
        put.append(array.size)
        return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))

    class Place:
        def __init__(self, shape: tuple[int, ...], dtype: Any, kind: str) -> None:
            self.form, self.kind = (shape, np.dtype(dtype)), kind

        def fill(self, host: NDArray[Any]) -> Any:
            assert (host.shape, host.dtype) == self.form
            return to_device(host, self.kind)

    monkeypatch.setattr(scratch_module, "to_device", to_device)
    monkeypatch.setattr(scratch_module, "Landing", Place)
    monkeypatch.setattr(device_module, "has_gpu", lambda: True)
    monkeypatch.setattr(tiles, "limit_memory", lambda kind, n_bytes: None)
    return put


@pytest.mark.parametrize("method", [*METHODS, "tiled"])
def test_fits_on_a_device_are_those_of_the_host(
    store_of: Callable[..., LogitStore], other_device: list[int], method: str
) -> None:
    """Every task's arrays live on the device from the scratch to the scratch."""
    here, there = store_of(method, "here"), store_of(method, "there")
    asked = {"root_penalty": ROOT} if method == "tiled" else {}
    run(here, fit_inputs(method, device="cpu", **asked))
    assert not other_device
    run(there, fit_inputs(method, **asked))
    assert other_device
    for name in fit_inputs(method).fit_names("domain"):
        found, expected = (store.maps.load("toy", name) for store in (there, here))
        assert error(weights_of(found), weights_of(expected)) < 1e-9
        assert error(found.intercept, expected.intercept) < 1e-9
        assert found.diagnosis.cut.rank == expected.diagnosis.cut.rank
        assert found.diagnosis.root_penalty == expected.diagnosis.root_penalty


def test_a_gpu_that_is_not_there_is_one_line(store_of: Callable[..., LogitStore]) -> None:
    if has_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(
        LincorrError, match=r"fit\.device: cuda is asked for, and CuPy sees no GPU here; install"
    ):
        run(store_of("gram"), fit_inputs("gram", device="cuda"))


# --- the answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_minimum_norm_map_is_gelsds(method, store_of):
    store, inputs = store_of(method), fit_inputs(method)
    assert run(store, inputs) == ["domain", "domain-ridge"]
    fitted = store.maps.load("toy", "domain")
    x, y = stored(store, inputs, inputs.fit_rows)
    cut = fitted.diagnosis.cut
    expected, _, rank, values = scipy.linalg.lstsq(
        centred(x), centred(y), cond=cut.threshold / np.linalg.norm(centred(x), 2)
    )
    assert (cut.rank, fitted.diagnosis.method, fitted.diagnosis.n_rows) == (WIDTH, method, N_FIT)
    assert rank == WIDTH
    assert cut.sigma_1 == pytest.approx(values[0])
    tolerance = 1e-8 if method != "lowrank" else 1e-5  # the sketch sees the rounding of storage
    assert error(weights_of(fitted), expected) < tolerance
    np.testing.assert_allclose(fitted.predict(x.mean(axis=0)[None])[0], y.mean(axis=0), rtol=1e-8, atol=1e-8)
    assert fitted.diagnosis.normal_residual < 1e-4 if method == "lowrank" else 1e-13
    assert fitted.diagnosis.min_norm_residual < 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_the_path_and_the_scores_are_those_of_the_direct_solver(method, store_of):
    store, inputs = store_of(method), fit_inputs(method)
    run(store, inputs)
    x, y = stored(store, inputs, inputs.fit_rows)
    ids: dict[str, Any] = {"source_ids": np.arange(P[method]), "target_ids": np.arange(Q)}
    other = direct(x, y, storage_eps=float(np.finfo(np.float32).eps), rank_limit=WIDTH, **ids)
    expected = ridge_path(other)
    fitted = store.maps.load("toy", "domain-ridge")
    assert fitted.diagnosis.path is not None
    assert fitted.diagnosis.path.reading == expected.reading == fitted.diagnosis.root_penalty
    scores = [[point.score for point in path.points] for path in (fitted.diagnosis.path, expected)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)

    problem = set_up(store, inputs, "domain")
    moments = held_out_moments(store, inputs, "domain", problem)
    x, y = stored(store, inputs, inputs.test_rows)
    r = scipy.stats.pearsonr(fitted.predict(x), y, axis=0).statistic
    found = problem.score(coefficients(problem, fitted.diagnosis.root_penalty), moments)
    assert finite_mean(found.pearson()) == pytest.approx(np.mean(r), abs=1e-9)


def test_tiles_share_sweeps_and_stay_in_memory_only_where_they_fit_and_the_bits_are_the_same(
    store_of, monkeypatch
):
    """Three tiles of 32 columns a side: six of G, three of B; a column block of three, and eight beside."""
    tile = 8 * 32**2
    in_shards = np.bincount(fit_inputs("tiled").fit_rows // 50)
    rows = ROW_BYTES * int(in_shards.max()) * (P["tiled"] + Q) + 8 * (50 - int(in_shards.max())) * P["tiled"]
    squares, holds_square = [], SquareTiles.holds

    def watched(self: SquareTiles, name: str, column_blocks: int = 0) -> bool:
        squares.append((column_blocks, holds_square(self, name, column_blocks)))
        return squares[-1][1]

    monkeypatch.setattr(SquareTiles, "holds", watched)
    monkeypatch.setattr(rules, "_FEWEST_ROWS", 50)
    found = []
    for memory, sweeps, factor, solve in (
        (rows + 3 * tile - 1, 6, False, False),  # two tiles a sweep make five, and two workers six
        (rows + 3 * tile, 4, False, False),
        ((6 + 8) * tile, 4, True, False),
        ((6 + 3 + 8) * tile, 2, True, True),
    ):
        squares.clear()
        store, executor = store_of("tiled", f"memory {memory}"), Disorderly(0)
        run(store, fit_inputs("tiled", root_penalty=ROOT, memory_bytes=memory), executor)
        assert len({key for key in executor.ran if "products" in key}) == sweeps
        assert {holds for blocks, holds in squares if not blocks} == {factor}
        assert {holds for blocks, holds in squares if blocks} == {solve}
        found.append(weights_of(store.maps.load("toy", "domain-ridge")))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_the_tiled_map_is_that_of_the_augmented_system(store_of):
    store, inputs = store_of("tiled"), fit_inputs("tiled", root_penalty=ROOT)
    assert run(store, inputs) == ["domain-ridge"]
    fitted = store.maps.load("toy", "domain-ridge")
    x, y = stored(store, inputs, inputs.fit_rows)
    diagnosis = fitted.diagnosis
    assert diagnosis.cut.sigma_1 == pytest.approx(np.linalg.norm(centred(x), 2), rel=1e-2)
    assert diagnosis.penalty == pytest.approx((ROOT * diagnosis.cut.sigma_1) ** 2)
    stacked = np.concatenate([centred(x), np.sqrt(diagnosis.penalty) * np.eye(x.shape[1])])
    expected = scipy.linalg.lstsq(stacked, np.concatenate([centred(y), np.zeros((x.shape[1], Q))]))[0]
    assert error(weights_of(fitted), expected) < 1e-10
    np.testing.assert_allclose(fitted.predict(x), centred(x) @ expected + y.mean(axis=0), atol=1e-8)
    assert diagnosis.normal_residual < 1e-14
    assert np.isnan(diagnosis.min_norm_residual)

    assert not isinstance(fitted.weights, np.ndarray)  # it stays on disk
    np.testing.assert_array_equal(fitted.block([40, 3], [8, 0]), weights_of(fitted)[np.ix_([40, 3], [8, 0])])
    problem = set_up(store, inputs, "domain")
    moments = held_out_moments(store, inputs, "domain", problem)
    x, y = stored(store, inputs, inputs.test_rows)
    r = scipy.stats.pearsonr(fitted.predict(x), y, axis=0).statistic
    np.testing.assert_allclose(problem.score(coefficients(problem, ROOT), moments).pearson(), r, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_penalty_that_is_given_is_taken(method, store_of):
    store = store_of(method)
    run(store, fit_inputs(method, root_penalty=ROOT))
    diagnosis = store.maps.load("toy", "domain-ridge").diagnosis
    assert (diagnosis.root_penalty, diagnosis.path) == (ROOT, None)
