"""Out-of-core fits in any order, cut short, resumed, and cached."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lincorr.errors import LincorrError
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.fit import tiles
from pipeline.plan import memory as rules
from pipeline.runtime.executor import Result, Serial, Stage, Task, ignore
from tests.pipeline.fit.executors import Before, Disorderly, interrupt
from tests.pipeline.fit.planted import METHODS, P, Q, arrays, error, fit_inputs, run, weights_of

pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.mark.parametrize("method", list(P))
def test_tasks_in_any_order_and_twice_give_the_same_bits(method, store_of):
    first, second = store_of(method, "first"), store_of(method, "second")
    run(first, fit_inputs(method))
    run(second, fit_inputs(method), Disorderly(1))
    assert arrays(first) == arrays(second)


@pytest.mark.parametrize("method", list(P))
def test_workers_without_a_gpu_take_part_where_none_is_wanted(method, store_of):
    for device in ("auto", "cpu"):
        noted = Disorderly(0)
        run(store_of(method, device), fit_inputs(method, device=device), noted)
        assert (True in noted.on_device) == (device == "auto")


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
    tiles._opened.cache_clear()
    tiles._opened_rows.cache_clear()
    run(broken, inputs)
    assert arrays(whole) == arrays(broken)


@pytest.mark.parametrize(
    ("method", "share"), [("gram", 0.4), ("dual", 0.5), ("lowrank", 0.5), ("tiled", 0.4)]
)
@pytest.mark.parametrize("times", [0.5, 0.9, 2.0])
def test_a_fit_goes_on_with_other_memory(method, share, times, store_of, monkeypatch):
    """What is free changes from run to run; tiles of two sizes in one scratch would be a wrong answer."""
    small = 20 * (64 if method == "gram" else 8) * (P[method] + Q)  # blocks of twenty rows
    monkeypatch.setattr(rules, "largest_tile", lambda columns, memory: round(32 * memory / small))
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
    monkeypatch.setattr(rules, "largest_tile", lambda columns, memory: 16 if memory <= 50_000 else 32)
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
        patch.setattr("lincorr.store.maps.sealed", lambda *_: interrupt())
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
    assert_leaves_little(store, method)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_run_left_that_was_killed_while_it_tidied_is_removed(method, store_of, monkeypatch):
    store, inputs = store_of(method), fit_inputs(method)
    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "discard", lambda *_: interrupt())
        with pytest.raises(KeyboardInterrupt):
            run(store, inputs)
    again = Disorderly(0)
    run(store, inputs, again)
    assert again.ran == []  # it is decomposed
    assert_leaves_little(store, method)


def assert_leaves_little(store: LogitStore, method: str) -> None:
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


class Keeping(Serial):
    """Ends a run at its first stage, of which it keeps a task."""

    def __init__(self) -> None:
        self.kept: list[Callable[[], object]] = []

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        self.kept.append(partial(stage.function, stage.tasks[0]))
        raise KeyboardInterrupt


@pytest.mark.parametrize("method", list(P))
def test_a_task_that_outlives_its_run_does_not_touch_a_later_fit(method, store_of):
    """A cluster's worker goes on with a task when its run was interrupted."""
    store, ended, later = store_of(method), Keeping(), Keeping()
    for executor, rcond in ((ended, None), (later, 0.1)):
        with pytest.raises(KeyboardInterrupt):
            run(store, fit_inputs(method, rcond=rcond), executor)
    (old,), (new,) = ended.kept, later.kept
    tiles._opened.cache_clear()
    before = sorted(Path(store.url).rglob("scratch/*/*/c/*"))
    with pytest.raises(LincorrError, match="was begun anew"):
        old()
    assert sorted(Path(store.url).rglob("scratch/*/*/c/*")) == before
    new()
