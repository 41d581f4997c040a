"""Streamed fits from a real store: against gelsd and explicit ridge, in any order, resumed, and refused."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from numpy.typing import NDArray

from lincorr.arrays import has_gpu
from lincorr.errors import LincorrError, StoreDamaged
from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from lincorr.scores.moments import finite_mean
from lincorr.solvers.choose import choose
from lincorr.solvers.direct import direct
from lincorr.solvers.result import LinearMap
from lincorr.solvers.spectrum import coefficients, ridge_path
from lincorr.store import scratch as scratch_module
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.testing import HiddenProblem, hidden_problem, planted_store
from pipeline.fit import panels
from pipeline.fit import relation as fit
from pipeline.fit.inputs import FitInputs
from pipeline.fit.problem import held_out_moments, set_up
from pipeline.fit.relation import fit_relation
from pipeline.fit.rows import ROW_BYTES
from pipeline.prepare.prepare import RelationInputs
from pipeline.runtime import device as device_module
from pipeline.runtime.executor import Executor, Result, Serial, Stage, Task, ignore

N_FIT, N, WIDTH, Q = 100, 140, 12, 9
METHODS = ["gram", "dual", "lowrank"]
P = {"gram": 50, "dual": 130, "lowrank": 90, "tiled": 80}
ROOT = 0.05


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_PANEL", 40)
    monkeypatch.setattr(fit, "_FEWEST_ROWS", 8)
    monkeypatch.setattr(fit, "largest_tile", lambda p, memory: 32)


def planted(method: str) -> HiddenProblem:
    return hidden_problem(N, WIDTH, P[method], Q, noise=0.05)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    for method in P:
        planted_store(str(folder / f"{method}.zarr"), planted(method), shard_rows=50)
    return {method: folder / f"{method}.zarr" for method in P}


@pytest.fixture
def store_of(stores: dict[str, Path], tmp_path: Path) -> Callable[..., LogitStore]:
    def copy(method: str, name: str = "run") -> LogitStore:
        path = shutil.copytree(stores[method], tmp_path / f"{name}.zarr")
        return LogitStore.open(str(path), write=True)

    return copy


def columns(count: int) -> Columns:
    texts = tuple(f" {i}" for i in range(count))
    return Columns(np.arange(count), texts, texts, (True,) * count, {})


def fit_inputs(method: str, **changes: Any) -> FitInputs:
    p = P[method]
    sides = (Side(Template(name, f"{{}} {name}"), ()) for name in ("source", "target"))
    relation = RelationInputs(Relation("toy", "test", *sides, ()), columns(p), columns(Q), {})
    rows = np.random.default_rng(0).permutation(N)
    choice = choose(
        N_FIT,
        p,
        Q,
        width=WIDTH,
        hidden=False,
        memory_bytes=10**9,
        method=method,  # type: ignore[arg-type]
    )
    known = {"n_tokens": p, "rcond": None, "memory_bytes": 10**8, "root_penalty": None} | changes
    return FitInputs(relation, rows[:N_FIT], rows[N_FIT:], {"domain": choice}, **known)


def stored(store: LogitStore, inputs: FitInputs, rows: NDArray[np.int64]) -> tuple[Any, Any]:
    x = store.logits("source", inputs.relation.source.ids, rows)
    y = store.logits("target", inputs.relation.target.ids, rows)
    return x.astype(np.float64), y.astype(np.float64)


def centred(data: Any) -> Any:
    return data - data.mean(axis=0)


def error(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def weights_of(fitted: LinearMap) -> Any:
    return fitted.block(fitted.source_ids.tolist(), fitted.target_ids.tolist())


def arrays(store: LogitStore) -> dict[str, bytes]:
    """The bits of every map."""
    maps = [store.maps.load("toy", name) for name in fit.FIT_NAMES if store.maps.inputs("toy", name)]
    assert maps
    return {m.diagnosis.method + str(i): weights_of(m).tobytes() for i, m in enumerate(maps)}


class Disorderly:
    """Runs the tasks of a stage in any order, some of them twice, and may stop before a stage's end."""

    def __init__(self, seed: int, stop_after: int | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.left = stop_after
        self.ran: list[str] = []
        self.workers = 2

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        results: dict[int, Result] = {}
        waiting = {i: str(getattr(task, "key", i)) for i, task in enumerate(stage.tasks)}
        while waiting:
            undone = set(waiting.values())
            may_begin = [i for i, key in waiting.items() if undone.isdisjoint(stage.needs.get(key, ()))]
            index = int(self.rng.choice(may_begin))
            if self.left is not None:
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
            for _ in range(1 + int(self.rng.integers(2))):
                results[index] = stage.function(stage.tasks[index])
            self.ran.append(f"{stage.name} {waiting.pop(index)}")
        return [results[i] for i in range(len(stage.tasks))]


class Before(Disorderly):
    """Does something before a stage."""

    def __init__(self, stage: str, do: Callable[[], object]) -> None:
        super().__init__(0)
        self.stage, self.do = stage, do

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        if stage.name == self.stage:
            self.do()
        return super().run(stage, on_result)


def interrupt() -> None:
    raise KeyboardInterrupt


def run(store: LogitStore, inputs: FitInputs, executor: Executor | None = None) -> list[str]:
    return fit_relation(store, inputs, lambda: executor or Serial())


# --- on a device --------------------------------------------------------------------------------------


@pytest.fixture
def other_device(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device that is not the host: what slips back to it, or to the default device, raises."""
    put = []

    def to_device(array: NDArray[Any], kind: str) -> Any:
        if kind == "cpu":
            return array
        put.append(array.size)
        return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))

    monkeypatch.setattr(scratch_module, "to_device", to_device)
    monkeypatch.setattr(device_module, "has_gpu", lambda: True)
    monkeypatch.setattr(panels, "limit_memory", lambda kind, n_bytes: None)
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
    ids = {"source_ids": np.arange(P[method]), "target_ids": np.arange(Q)}
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
    squares, holds_square = [], panels.Panels._holds_square

    def watched(self: panels.Panels, name: str, column_blocks: int = 0) -> bool:
        squares.append((column_blocks, holds_square(self, name, column_blocks)))
        return squares[-1][1]

    monkeypatch.setattr(panels.Panels, "_holds_square", watched)
    monkeypatch.setattr(fit, "_FEWEST_ROWS", 50)
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


# --- order, repetition, interruption ------------------------------------------------------------------


@pytest.mark.parametrize("method", list(P))
def test_tasks_in_any_order_and_twice_give_the_same_bits(method, store_of):
    first, second = store_of(method, "first"), store_of(method, "second")
    run(first, fit_inputs(method))
    run(second, fit_inputs(method), Disorderly(1))
    assert arrays(first) == arrays(second)


@pytest.mark.parametrize(
    ("method", "share"), [("gram", 0.3), ("dual", 0.7), ("lowrank", 0.5), ("tiled", 0.7)]
)
def test_a_fit_that_was_cut_short_goes_on_from_its_tiles(method, share, store_of):
    whole, broken = store_of(method, "whole"), store_of(method, "broken")
    inputs = fit_inputs(method)
    undisturbed = Disorderly(2)
    run(whole, inputs, undisturbed)
    count = len(undisturbed.ran)
    with pytest.raises(KeyboardInterrupt):
        run(broken, inputs, Disorderly(3, stop_after=int(share * count)))
    assert broken.maps.inputs("toy", "domain-ridge") is None
    rest = Disorderly(4)
    run(broken, inputs, rest)
    assert len(rest.ran) <= count - int(share * count) + 1
    assert arrays(whole) == arrays(broken)


@pytest.mark.parametrize("stage", ["solve", "certify"])
def test_a_worker_that_comes_when_the_products_are_there_goes_on(stage, store_of):
    """It remembers nothing of the rows."""
    whole, broken = store_of("tiled", "whole"), store_of("tiled", "broken")
    inputs = fit_inputs("tiled")
    run(whole, inputs)
    with pytest.raises(KeyboardInterrupt):
        run(broken, inputs, Before(stage, interrupt))
    panels._opened.cache_clear()
    panels._opened_rows.cache_clear()
    run(broken, inputs)
    assert arrays(whole) == arrays(broken)


@pytest.mark.parametrize(
    ("method", "share"), [("gram", 0.4), ("dual", 0.5), ("lowrank", 0.5), ("tiled", 0.4)]
)
@pytest.mark.parametrize("times", [0.5, 0.9, 2.0])
def test_a_fit_goes_on_with_other_memory(method, share, times, store_of, monkeypatch):
    """What is free changes from run to run; tiles of two sizes in one scratch would be a wrong answer."""
    small = 20 * (64 if method == "gram" else 8) * (P[method] + Q)  # blocks of twenty rows
    monkeypatch.setattr(fit, "largest_tile", lambda columns, memory: round(32 * memory / small))
    inputs = fit_inputs(method, memory_bytes=small)
    whole, broken = store_of(method, "whole"), store_of(method, "broken")
    undisturbed = Disorderly(2)
    run(whole, inputs, undisturbed)
    with pytest.raises(KeyboardInterrupt):
        run(broken, inputs, Disorderly(3, stop_after=int(share * len(undisturbed.ran))))
    run(broken, replace(inputs, memory_bytes=int(times * small)))
    for name in inputs.fit_names("domain"):
        found, expected = (store.maps.load("toy", name) for store in (broken, whole))
        assert error(weights_of(found), weights_of(expected)) < 1e-9


@pytest.mark.parametrize("stage", ["solve", "certify"])
@pytest.mark.parametrize("tiles", [(32, 16), (16, 32)], ids=str)
@pytest.mark.parametrize("lost", [False, True])
def test_a_map_in_tiles_of_another_size_begins_anew(stage, tiles, lost, store_of, monkeypatch):
    """The map lies outside the scratch, and would outlive it."""
    memory = {16: 40_000, 32: 140_000}
    monkeypatch.setattr(fit, "largest_tile", lambda columns, memory: 16 if memory <= 50_000 else 32)
    store = store_of("tiled")
    with pytest.raises(KeyboardInterrupt):
        run(store, fit_inputs("tiled", memory_bytes=memory[tiles[0]]), Before(stage, interrupt))
    if lost:
        shutil.rmtree(Path(store.url, "scratch"))
    run(store, fit_inputs("tiled", memory_bytes=memory[tiles[1]]))
    whole = store_of("tiled", "whole")
    run(whole, fit_inputs("tiled"))
    found, expected = (weights_of(one.maps.load("toy", "domain-ridge")) for one in (store, whole))
    assert error(found, expected) < 1e-9


def test_a_scratch_of_another_layout_is_begun_anew(store_of):
    store, inputs = store_of("tiled"), fit_inputs("tiled")
    with pytest.raises(KeyboardInterrupt):
        run(store, inputs, Disorderly(0, stop_after=1))
    scratch = Scratch.attach(f"{store.url}/scratch/toy-domain")
    scratch.remember(layout=1)
    run(store, inputs)
    assert Scratch.attach(scratch.url).begun != scratch.begun


def test_a_fit_that_was_cut_short_at_its_very_end_goes_on(store_of, monkeypatch):
    store, inputs = store_of("tiled"), fit_inputs("tiled")
    with monkeypatch.context() as patch:
        patch.setattr("lincorr.store.maps.finite", lambda _: interrupt())
        with pytest.raises(KeyboardInterrupt):
            run(store, inputs)
    assert store.maps.inputs("toy", "domain-ridge") is None
    run(store, inputs)
    assert weights_of(store.maps.load("toy", "domain-ridge")).shape == (P["tiled"], Q)


def test_another_run_that_goes_on_with_a_scratch_has_its_own_settings(store_of):
    """As in a worker that stays: what it keeps open is of the first run."""
    store, executor = store_of("tiled"), Disorderly(0, stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        run(store, fit_inputs("tiled"), executor)
    with pytest.raises(LincorrError, match=r"fit\.device"):
        run(store, fit_inputs("tiled", device="cuda"))


def test_rows_of_a_shard_that_is_larger_than_a_block_do_not_hold_it_in_memory(tmp_path):
    made = hidden_problem(400, 8, 40, 30)
    store = planted_store(str(tmp_path / "wide.zarr"), made, shard_rows=400)
    found = store.logits("source", np.arange(40), np.arange(10))
    assert found.base is None


@pytest.mark.parametrize("method", list(P))
def test_what_is_fitted_is_not_fitted_again_and_leaves_little(method, store_of):
    store, inputs = store_of(method), fit_inputs(method)
    run(store, inputs)
    again = Disorderly(0)
    assert run(store, inputs, again) == []
    assert again.ran == []
    kept = {path.name for path in Path(store.url, "scratch/toy-domain").iterdir() if path.is_dir()}
    named = {"rows", "source_ids", "target_ids"}
    named |= (
        {"values", "basis", "projected", "source_mean", "target_mean"}
        if method != "tiled"
        else {*("largest", "probed", "intercept", "residual")}
    )
    assert kept == named


def test_other_rows_begin_anew(store_of):
    store, inputs = store_of("gram"), fit_inputs("gram")
    run(store, inputs)
    before = arrays(store)
    other = fit_inputs("gram")
    object.__setattr__(other, "fit_rows", inputs.fit_rows[:80])
    assert run(store, other) == ["domain", "domain-ridge"]
    assert arrays(store) != before


# --- refusals -----------------------------------------------------------------------------------------


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
        panels._opened.cache_clear()

    losing = Before("solve", lose)
    with pytest.raises(StoreDamaged, match=r"tile \(2, 1\) of 'factor' in .* is missing; delete this folder"):
        run(store, inputs, losing)
    run(store, inputs)  # which makes it again
    assert weights_of(store.maps.load("toy", "domain-ridge")).shape == (P["tiled"], Q)


def test_a_lost_decomposition_is_named(store_of):
    store, inputs = store_of("gram"), fit_inputs("gram")
    run(store, inputs)
    shutil.rmtree(Path(store.url, "scratch"))
    with pytest.raises(LincorrError, match=r"decomposition in .* is gone; run `lincorr fit` again"):
        set_up(store, inputs, "domain")


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
