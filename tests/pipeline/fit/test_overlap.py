"""What a tiled fit reads and writes while it computes, and how much it holds then."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lincorr.arrays import add_product, has_gpu
from lincorr.store.maps import MapStore
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.fit.squares import SquareTiles
from pipeline.plan import memory as rules
from pipeline.runtime.executor import Result, Serial, Stage, Task, ignore
from tests.pipeline.fit.planted import ROOT, P, Q, fit_inputs, run, weights_of
from tests.pipeline.fit.relations import chosen, planted_relation

LONG = 20.0  # seconds to wait for what must happen meanwhile
NO_SQUARES = 10 * 8 * 32**2  # too little for a matrix of three tiles a side


@pytest.mark.usefixtures("small_tiles")
def test_the_next_tile_is_read_before_a_product_ends(
    store_of: Callable[..., LogitStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every product waits until the tile that comes next is being read, or is the last."""
    moved = threading.Condition()
    count = {"asked": 0, "begun": 0, "all": 0, "products": 0}
    reader, read_host = SquareTiles.reader, Scratch.read_host

    def watched(self: SquareTiles, name: str, positions: Any, column_blocks: int = 0) -> Any:
        count.update({"asked": 0, "begun": 0, "all": len(positions)})
        read = reader(self, name, positions, column_blocks)

        def asked(i: int, j: int) -> Any:
            count["asked"] += 1
            return read(i, j)

        return asked

    def slow(self: Scratch, name: str, i: int, j: int) -> Any:
        if name == "factor":
            with moved:
                count["begun"] += 1
                moved.notify_all()
        return read_host(self, name, i, j)

    def product(*args: Any, **kwargs: Any) -> Any:
        count["products"] += 1
        with moved:
            wanted = min(count["asked"] + 1, count["all"])
            assert moved.wait_for(lambda: count["begun"] >= wanted, LONG)
        return add_product(*args, **kwargs)

    monkeypatch.setattr(SquareTiles, "reader", watched)
    monkeypatch.setattr(Scratch, "read_host", slow)
    monkeypatch.setattr("lincorr.solvers.tiled.add_product", product)
    store = store_of("tiled")
    run(store, fit_inputs("tiled", root_penalty=ROOT, memory_bytes=NO_SQUARES))
    # one below the diagonal of L needs one; three rows down and up need three each
    assert count["products"] == 1 + 3 + 3


@pytest.mark.usefixtures("small_tiles")
def test_a_row_of_w_is_written_while_the_next_is_computed(
    store_of: Callable[..., LogitStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, seen = threading.Event(), []
    write_tile = MapStore.write_tile

    def slow(self: MapStore, relation: str, fit: str, i: int, *more: Any) -> int:
        seen.append(i)
        assert i == 0 or going_on.wait(LONG)
        going_on.clear()
        return write_tile(self, relation, fit, i, *more)

    def product(*args: Any, **kwargs: Any) -> Any:
        if seen:
            going_on.set()
        return add_product(*args, **kwargs)

    monkeypatch.setattr(MapStore, "write_tile", slow)
    monkeypatch.setattr("lincorr.solvers.tiled.add_product", product)
    store = store_of("tiled")
    run(store, fit_inputs("tiled", root_penalty=ROOT))
    assert seen == [2, 1, 0]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_nothing_that_is_read_ahead_changes_a_bit(
    store_of: Callable[..., LogitStore], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    if device == "cuda" and not has_gpu():
        pytest.skip("CuPy finds no GPU")
    monkeypatch.setattr(SquareTiles, "holds", lambda *_: False)
    found = []
    for name in ("beside", "in turn"):
        store = store_of("tiled", name)
        run(store, fit_inputs("tiled", root_penalty=ROOT, device=device))
        found.append(weights_of(store.maps.load("toy", "domain-ridge")).tobytes())
        for module in ("lincorr.store.scratch", "pipeline.fit.sweeps", "pipeline.fit.tiled"):
            monkeypatch.setattr(f"{module}.prefetch", map)
    assert len(found[0]) == 8 * P["tiled"] * Q
    assert found[0] == found[1]


class Weighing(Serial):
    """Measures what the tasks of each stage hold at most, with what earlier ones have left."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        for task in stage.tasks:
            name = f"{stage.name} {type(task).__name__}"
            self.most.setdefault(name, 0)

        def weigh(task: Task) -> Result:
            tracemalloc.reset_peak()
            result = stage.function(task)
            name = f"{stage.name} {type(task).__name__}"
            self.most[name] = max(self.most[name], tracemalloc.get_traced_memory()[1])
            return result

        return super().run(Stage(stage.name, weigh, stage.tasks, needs=stage.needs), on_result)


@pytest.fixture
def weighing(store_of: Callable[..., LogitStore]) -> Iterator[Weighing]:
    run(
        store_of("tiled", "first"), fit_inputs("tiled", root_penalty=ROOT)
    )  # imports what is not imported yet
    tracemalloc.start()
    yield Weighing()
    tracemalloc.stop()


@pytest.mark.parametrize("tiles", [18, 24])
def test_a_task_holds_no_more_than_it_may_with_all_that_is_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weighing: Weighing, tiles: int
) -> None:
    """Four tiles a side and eight beside: 18 hold L or two column blocks, 24 four column blocks."""
    side, width = 1024, 256
    monkeypatch.setattr(rules, "largest_tile", lambda p, memory: width)
    store = planted_store(str(tmp_path / "run.zarr"), hidden_problem(150, 12, side, side), shard_rows=50)
    memory = tiles * 8 * width**2
    relation, choice = planted_relation(side, side), chosen("tiled", 150, side, side, 12)
    inputs = FitInputs(
        relation, np.arange(150), np.arange(2), {"domain": choice}, side, None, ROOT, memory_bytes=memory
    )
    fit_relation(store, inputs, lambda: weighing)
    assert set(weighing.most) == {
        *("measure TileTask", "factor SweepTask", "factor FactorTask", "solve SolveTask", "certify TileTask")
    }
    assert max(weighing.most.values()) <= memory
    assert tracemalloc.get_traced_memory()[0] < 4 * 8 * width**2  # no tiles stay in this process
