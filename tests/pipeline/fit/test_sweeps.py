"""Which rows and which tiles a sweep has."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.fit.rows import FitRows
from pipeline.fit.scratch import begin
from pipeline.fit.sweeps import deal

N, SHARD_ROWS = 64, 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LogitStore:
    folder = tmp_path_factory.mktemp("sweeps")
    found: LogitStore = planted_store(
        str(folder / "run.zarr"), hidden_problem(N, 3, 5, 4), shard_rows=SHARD_ROWS
    )
    return found


def fit_rows(store: LogitStore, rows: list[int], most: int) -> FitRows:
    begin(
        store,
        "toy",
        str((rows, most)),
        templates=("source", "target"),
        source_ids=np.arange(5),
        target_ids=np.arange(4),
        rows=np.array(rows),
        block=most,
        memory_bytes=0,
    )
    return FitRows(store, Scratch.attach(f"{store.url}/scratch/toy"))


def test_shards_that_fit_are_blocks_of_their_own_where_they_are_large(store, monkeypatch):
    monkeypatch.setattr("pipeline.fit.rows._ENOUGH_ROWS", 15)
    found = fit_rows(store, list(range(5, N)), 1000).by_shard
    assert [len(block) for block in found] == [15, 10, 10, 10, 14]


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.integers(0, N - 1), unique=True, min_size=1),
    most=st.integers(1, 30),
)
def test_blocks_are_all_rows_in_order_with_whole_shards_where_they_fit(store, rows, most):
    found = fit_rows(store, rows, most).by_shard
    assert np.concatenate(found).tolist() == sorted(rows)
    assert all(0 < len(block) <= most for block in found)
    if most >= SHARD_ROWS:  # no shard is read twice
        shards = [set(block // SHARD_ROWS) for block in found]
        assert sum(map(len, shards)) == len(set.union(*shards))
    for one, other in pairwise(found):
        assert len(one) + len(other) > most  # small ones share a block


@given(count=st.integers(0, 60), most=st.integers(-2, 20), workers=st.integers(1, 9))
def test_things_are_dealt_out_evenly(count, most, workers):
    things = list(range(count))
    parts = deal(things, most, workers)
    assert [thing for part in parts for thing in part] == things
    if not things:
        assert parts == []
        return
    assert all(1 <= len(part) <= max(1, most) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts) % workers == 0 or len(parts) == count
    fewest = -(-count // max(1, most))
    assert len(parts) < fewest + workers  # no more than the workers' number asks for
