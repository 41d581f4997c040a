"""Workers that are forked from a warmed process compute what others do."""

import json
import sys
import time

import psutil
import pytest

from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from pipeline.runtime import dask_executor, warm
from tests.pipeline.extract.extraction import SHARDS, assert_equal_bits
from tests.processes import starting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def test_forked_workers_write_the_bits_of_one_process(flags, undisturbed, tmp_path, monkeypatch, capsys):
    started: list[str] = []
    method = warm.start_method

    def noted() -> str:
        started.append(method())
        return started[-1]

    monkeypatch.setattr(dask_executor, "start_method", noted)
    store = tmp_path / "run.zarr"
    forked = ["--store", str(store), "--cluster-workers", "2", "--model-device", "cpu"]
    assert main(["extract", *flags, *forked, "--json"]) == 0
    assert started == ["forkserver"]
    assert json.loads(capsys.readouterr().out)["shards"] == SHARDS
    assert_equal_bits(store, undisturbed)
    assert LogitStore.open(str(store)).identity == LogitStore.open(str(undisturbed)).identity


@pytest.mark.slow
def test_a_run_outlives_the_process_that_its_workers_are_forked_from(flags, undisturbed, tmp_path):
    """Its workers end with it, and as many begin from another: never more than were asked for."""
    store, limit = tmp_path / "run.zarr", time.monotonic() + 120
    asked_for = ["--store", str(store), "--cluster-workers", "2", "--model-device", "cpu"]
    with starting() as launch:
        run = launch("extract", *flags, *asked_for, "--json")
        while not list(store.glob("done/*/c/*/0")):
            assert time.monotonic() < limit
            time.sleep(0.002)
        [server] = forkservers(run.pid)
        first = server.children()
        server.kill()
        most, new = 0, set[int]()
        while run.poll() is None and time.monotonic() < limit:
            found = [worker for other in forkservers(run.pid) for worker in children(other)]
            living = [worker for worker in first if alive(worker)]
            most = max(most, len(set(found) | set(living)))
            new |= {worker.pid for worker in found}
            time.sleep(0.01)
        output, said = run.communicate(timeout=60)
    assert (run.returncode, len(first), most, len(new)) == (0, 2, 2, 2), said
    assert json.loads(output)["shards"] == SHARDS
    assert not any(map(alive, first))
    assert_equal_bits(store, undisturbed)


def forkservers(pid: int) -> list[psutil.Process]:
    return [other for other in children(psutil.Process(pid)) if "forkserver" in command(other)]


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie counts as one
        return ""


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
