"""Processes that die, runs that meet, and disks that are full: the store ends up as if undisturbed."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from lincorr.errors import LincorrError
from lincorr.relations.relation import Template
from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from pipeline.runtime import dask_executor
from pipeline.runtime.lock import lock_path, sole_writer
from tests.pipeline.extract.extraction import SHARD_ROWS, SHARDS, TEMPLATES, assert_equal_bits, extracted
from tests.processes import starting, worker_processes

PATIENCE = 120  # seconds until something that must happen has failed to


@pytest.fixture
def start(tmp_path: Path, flags: list[str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `lincorr extract` in a process of its own; leave no process behind."""
    with starting() as launch:

        def start(workers: int = 2, store: Path | None = None, *more: str) -> subprocess.Popen[str]:
            where = ["--store", str(store or tmp_path / "run.zarr")]
            return launch("extract", *flags, "--json", *where, *(more or ["--cluster-workers", str(workers)]))

        yield start


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.002)


def done(store: Path) -> int:
    """Records of shards, of all templates."""
    return sum(1 for _ in store.glob("done/*/c/*/0"))


# Processes that die


def test_a_run_outlives_a_killed_worker(start, undisturbed, tmp_path):
    store = tmp_path / "run.zarr"
    client = start()
    wait_for(lambda: done(store))
    workers = worker_processes(client.pid)
    assert len(workers) == 2
    workers[0].kill()
    killed_at = done(store)
    out, err = client.communicate(timeout=PATIENCE)
    assert (client.returncode, err) == (0, "")
    assert killed_at < len(TEMPLATES) * SHARDS
    assert json.loads(out)["shards"] == SHARDS
    assert_equal_bits(store, undisturbed)


def test_a_killed_run_leaves_no_process_and_goes_on_where_it_stopped(
    start, undisturbed, flags, tmp_path, capsys
):
    store = tmp_path / "run.zarr"
    client = start()
    wait_for(lambda: done(store) > 10)
    workers = worker_processes(client.pid)
    client.kill()
    client.communicate()
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=20)[1] == []

    kept = {path: path.stat().st_mtime_ns for path in store.glob("done/*/c/*/0")}
    assert 10 < len(kept) < len(TEMPLATES) * SHARDS
    missing = len(TEMPLATES) * SHARDS - len(kept)
    receipt = extracted(store, flags, capsys)
    assert receipt["prompts"] == missing * SHARD_ROWS
    assert missing / len(TEMPLATES) <= receipt["shards"] < SHARDS
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_equal_bits(store, undisturbed)
    assert extracted(store, flags, capsys) == {"shards": 0, "prompts": 0, "bytes_written": 0, "asked": 0}


def test_templates_that_a_killed_run_was_adding_are_still_asked_together(
    undisturbed, flags, tmp_path, monkeypatch, capsys
):
    store = tmp_path / "run.zarr"
    whole = LogitStore.add_template

    def killed(self: LogitStore, template: Template, *rest: Any, **more: Any) -> None:
        if template.name == "country":
            raise KeyboardInterrupt
        whole(self, template, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(LogitStore, "add_template", killed)
        assert main(["extract", *flags, "--store", str(store), "--cluster-kind", "serial"]) == 130
    capsys.readouterr()
    assert [template.name for template in LogitStore.open(str(store)).templates()] == ["city"]
    assert extracted(store, flags, capsys)["prompts"] == len(TEMPLATES) * SHARDS * SHARD_ROWS
    assert_equal_bits(store, undisturbed)
    added = LogitStore.open(str(store)).templates_added_with
    assert added("city") == added("country") == ("city", "country")


def test_an_interrupted_run_stops_and_goes_on_where_it_stopped(start, undisturbed, flags, tmp_path, capsys):
    store = tmp_path / "run.zarr"
    client = start(workers=1)
    wait_for(lambda: done(store) > 10)
    workers = worker_processes(client.pid)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130
    assert err.splitlines() == [
        "error: interrupted; what was done is stored, the same command resumes from there"
    ]
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert 0 < extracted(store, flags, capsys)["shards"] < SHARDS
    assert_equal_bits(store, undisturbed)


def test_a_run_waits_for_a_slow_worker(start, undisturbed, tmp_path):
    store = tmp_path / "run.zarr"
    client = start()
    wait_for(lambda: done(store))
    slow = worker_processes(client.pid)[0]
    slow.suspend()
    time.sleep(3)
    assert client.poll() is None  # it has shards that no other worker does
    slow.resume()
    assert client.communicate(timeout=PATIENCE)[1] == ""
    assert client.returncode == 0
    assert_equal_bits(store, undisturbed)


def test_a_killed_scheduler_is_one_clear_line_and_the_run_goes_on_later(
    scheduler, start, undisturbed, flags, tmp_path, capsys
):
    store = tmp_path / "run.zarr"
    process, address = scheduler
    client = start(1, None, "--cluster-kind", "address", "--cluster-address", address)
    wait_for(lambda: done(store) > 10)
    process.kill()
    out, err = client.communicate(timeout=PATIENCE)
    assert (client.returncode, out) == (1, "")
    assert err.splitlines() == [
        "error: extract: the Dask scheduler is gone; start it and its workers again (cluster.address). "
        "Finished work is stored: rerun to resume"
    ]
    assert 0 < extracted(store, flags, capsys)["shards"] < SHARDS
    assert_equal_bits(store, undisturbed)


def test_a_run_whose_workers_are_gone_for_good_ends_and_the_next_one_goes_on(
    scheduler, undisturbed, flags, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(dask_executor, "_COUNT_WORKERS", 0.2)
    store = tmp_path / "run.zarr"

    def end_the_worker() -> None:
        wait_for(lambda: done(store) > 10)
        [worker] = [one for one in psutil.Process().children() if "--death-timeout" in one.cmdline()]
        for process in [*worker.children(recursive=True), worker]:
            process.kill()

    with Client(scheduler[1]) as client:  # or the run would not wait long enough for the first one either
        client.wait_for_workers(1, timeout=PATIENCE)
    threading.Thread(target=end_the_worker).start()
    cluster = ["--cluster-kind", "address", "--cluster-address", scheduler[1], "--cluster-wait", "0.02"]
    assert main(["extract", *flags, "--store", str(store), *cluster]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: cluster.wait: the only worker is gone for ")
    assert last.endswith("Finished work is stored: rerun to resume")
    assert 0 < extracted(store, flags, capsys)["shards"] < SHARDS
    assert_equal_bits(store, undisturbed)


# Two runs at once


def test_a_second_run_is_refused_and_told_who_is_first(start, flags, undisturbed, tmp_path, capsys):
    store = tmp_path / "run.zarr"
    client = start(1, store, "--cluster-kind", "serial")
    wait_for(lambda: done(store))
    client.send_signal(signal.SIGSTOP)
    for verb in ("extract", "fit", "evaluate"):
        assert main([verb, *flags, "--store", str(store), "--cluster-kind", "serial"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"error: store.path: {str(store)!r} is being written by another run, "
            f"{socket.gethostname()}:{client.pid} (host:process); wait for it, or name another store"
        )
    client.send_signal(signal.SIGCONT)
    client.communicate(timeout=PATIENCE)
    assert client.returncode == 0
    assert not lock_path(str(store)).exists()
    assert_equal_bits(store, undisturbed)


def test_a_lock_goes_with_its_process(tmp_path):
    store = str(tmp_path / "run.zarr")
    code = (
        "import sys, time\n"
        "from pipeline.runtime.lock import sole_writer\n"
        "with sole_writer(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, store], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LincorrError, match=f":{holder.pid} "), sole_writer(store):
        pass
    holder.kill()
    holder.communicate()
    assert lock_path(store).exists()  # the file is left, the lock is not
    with sole_writer(store):
        pass
    assert not lock_path(store).exists()


# Disks that are full or read-only


def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_when_there_is_room(
    disk, start, undisturbed, flags, capsys
):
    store = disk.path / "run.zarr"
    needed = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    client = start(1, store)
    wait_for(lambda: done(store) > 4)  # the plan saw enough room; now somebody else takes it
    disk.fill()
    out, err = client.communicate(timeout=PATIENCE)
    assert (client.returncode, out) == (1, "")
    assert err.splitlines() == [
        f"error: store.path: {str(store)!r} cannot be written (No space left on device); free space there. "
        "Finished work is stored: rerun to resume"
    ]
    disk.empty()
    disk.remount(f"size={4 * needed}")
    assert 0 < extracted(store, flags, capsys)["shards"] < SHARDS
    assert_equal_bits(store, undisturbed)


def test_a_read_only_store_is_read_and_nothing_is_begun_that_would_write(disk, flags, tmp_path, capsys):
    disk.remount("size=64m")
    store = ["--store", str(disk.path / "run.zarr")]
    serial = ["--cluster-kind", "serial"]
    page = ["--report-folder", str(tmp_path / "page")]
    assert main(["run", *flags, *store, *serial, *page]) == 0
    disk.remount("ro")
    capsys.readouterr()
    for verb in (["show", "Paris"], ["evaluate"], ["report", *page]):
        assert main([*verb, *flags, *store]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["report", *flags, *store]) == 2  # beside the store
    (line,) = capsys.readouterr().err.splitlines()
    assert f"report.folder: {str(disk.path / 'run-report')!r} cannot be written; name another" in line
    for place in ("run.zarr", "new.zarr"):
        assert main(["extract", *flags, "--store", str(disk.path / place)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"error: store.path: {str(disk.path / place)!r} is read-only; name a location that can be written"
        )
