"""Killed workers, killed clients and damaged files: the store ends up as if nothing had happened."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
import zarr

from lincorr.errors import LincorrError
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.runtime.lock import lock_path, sole_writer

SUBJECTS, SHARD_ROWS = 140, 4
SHARDS = SUBJECTS // SHARD_ROWS
TEMPLATES = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
PATIENCE = 120  # seconds until something that must happen has failed to


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's own files: a catalogue, and strings of several lengths in tokens."""
    folder = tmp_path_factory.mktemp("faults")
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    catalogue = {"templates": TEMPLATES, "relations": {"toy": relation}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    words = [f"{a} {b}{c}" for b in COUNTRIES for c in ("", "!", " in Rome") for a in CITIES]
    (folder / "subjects.txt").write_text("\n".join(words[:SUBJECTS]))
    return folder


@pytest.fixture(scope="module")
def flags(folder: Path, toy_model: Path) -> list[str]:
    """Many small shards, so that a run can be killed in its middle."""
    options = {
        "--model": toy_model,
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--subjects-kind": "strings",
        "--subjects-file": folder / "subjects.txt",
        "--store-shard-rows": SHARD_ROWS,
        "--cluster-batch-tokens": 128,
    }
    return [str(part) for option in options.items() for part in option]


@pytest.fixture(scope="module")
def undisturbed(folder: Path, flags: list[str]) -> Path:
    """The store of a run in one process to which nothing happened."""
    store = folder / "undisturbed.zarr"
    assert main(["extract", *flags, "--store", str(store), "--cluster-kind", "serial"]) == 0
    return store


@pytest.fixture
def store(tmp_path: Path, undisturbed: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(undisturbed, tmp_path / "run.zarr"))


@pytest.fixture
def start(tmp_path: Path, flags: list[str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `lincorr extract` in a process of its own; leave no process behind."""
    started: list[psutil.Process] = []

    def start(workers: int = 2, store: Path | None = None, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline", "extract", *flags, "--json"]
        command += ["--store", str(store or tmp_path / "run.zarr")]
        command += more or ["--cluster-workers", str(workers)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
        )
        started.append(psutil.Process(process.pid))
        return process

    yield start
    for process in started:
        if process.is_running():
            for part in [*process.children(recursive=True), process]:
                part.kill()


def heed_interrupts() -> None:
    """A shell starts what runs in its background deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.002)


def done(store: Path) -> int:
    """Records of shards, of all templates."""
    return sum(1 for _ in store.glob("done/*/c/*/0"))


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def extracted(store: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """Run `lincorr extract` here; return what it says that it did."""
    assert main(["extract", *flags, "--store", str(store), "--cluster-kind", "serial", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def assert_equal_bits(store: Path, right: Path) -> None:
    assert LogitStore.open(str(store)).verify() == []
    mine, theirs = zarr.open_group(str(store), mode="r"), zarr.open_group(str(right), mode="r")
    for name in ("subjects/id", "subjects/text", "head/weight"):
        np.testing.assert_array_equal(mine[name][...], theirs[name][...], err_msg=name)
    for kind in ("logits", "hidden"):
        for template in TEMPLATES:
            name = f"{kind}/{template}"
            assert mine[name][...].tobytes() == theirs[name][...].tobytes(), name


# Processes that die


def test_a_run_outlives_a_killed_worker(start, undisturbed, tmp_path):
    store = tmp_path / "run.zarr"
    client = start()
    wait_for(lambda: done(store))
    workers = workers_of(client)
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
    workers = workers_of(client)
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
    assert extracted(store, flags, capsys) == {"shards": 0, "prompts": 0, "bytes_written": 0}


def test_an_interrupted_run_stops_and_goes_on_where_it_stopped(start, undisturbed, flags, tmp_path, capsys):
    store = tmp_path / "run.zarr"
    client = start(workers=1)
    wait_for(lambda: done(store) > 10)
    workers = workers_of(client)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130
    assert err.splitlines() == [
        "error: interrupted; what was done is kept, the same command goes on from there"
    ]
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert 0 < extracted(store, flags, capsys)["shards"] < SHARDS
    assert_equal_bits(store, undisturbed)


def test_a_run_waits_for_a_slow_worker(start, undisturbed, tmp_path):
    store = tmp_path / "run.zarr"
    client = start()
    wait_for(lambda: done(store))
    slow = workers_of(client)[0]
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
        "error: extract: the Dask scheduler is gone; start it and its workers again (cluster.address). What "
        "was done is kept: run again to go on"
    ]
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
        f"error: store.path: {str(store)!r} cannot be written (No space left on device); make room there. "
        "What was done is kept: run again to go on"
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
    for place in ("run.zarr", "new.zarr"):
        assert main(["extract", *flags, "--store", str(disk.path / place)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"error: store.path: {str(disk.path / place)!r} is read-only; name a place that can be written"
        )


# Files that are not what was written


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def empty(path: Path) -> None:
    os.truncate(path, 0)


damaged = pytest.mark.parametrize(
    ("damage", "chunk"),
    [
        (truncate, "logits/city/c/3/0"),
        (truncate, "hidden/country/c/17/0"),
        (flip_a_bit, "logits/city/c/3/0"),
        (flip_a_bit, "hidden/country/c/17/0"),
        (empty, "logits/city/c/3/0"),
        (Path.unlink, "logits/city/c/3/0"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)


def place(chunk: str) -> tuple[str, str]:
    """Template and shard of a chunk."""
    _, template, _, shard, _ = chunk.split("/")
    return template, shard


@damaged
def test_verify_names_a_damaged_shard(damage, chunk, store, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    assert main(["store", "verify", str(store), "--json"]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert faults == [f"template {template!r}, shard {shard}: damaged"]


@damaged
def test_fit_refuses_a_damaged_shard(damage, chunk, store, flags, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    assert main(["fit", *flags, "--store", str(store)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"shard {shard} of template {template!r}" in line
    assert "`lincorr extract`" in line
    assert LogitStore.open(str(store)).maps.relations() == []


@damaged
def test_extract_repairs_that_shard_and_no_other(damage, chunk, store, flags, undisturbed, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    before = {path: path.stat().st_mtime_ns for path in store.glob("*/*/c/*/0")}
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    written = {path for path in store.glob("*/*/c/*/0") if path.stat().st_mtime_ns != before.get(path)}
    assert written == {store / f"{kind}/{template}/c/{shard}/0" for kind in ("logits", "hidden", "done")}
    assert_equal_bits(store, undisturbed)


def test_a_lost_record_is_a_shard_that_was_not_extracted(store, flags, undisturbed, capsys):
    (store / "done/city/c/3/0").unlink()
    assert LogitStore.open(str(store)).verify() == ["template 'city', shard 3: not extracted"]
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_record_is_found_and_repaired(damage, store, flags, undisturbed, capsys):
    damage(store / "done/city/c/3/0")
    assert LogitStore.open(str(store)).verify() == ["template 'city', shard 3: damaged"]
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


def test_a_chunk_without_a_record_is_no_data(store, flags, undisturbed, capsys):
    """A worker that dies between chunk and record leaves this."""
    (store / "done/city/c/3/0").unlink()
    flip_a_bit(store / "logits/city/c/3/0")
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_a_damaged_head_is_found_and_refused(damage, store, flags, capsys):
    damage(store / "head/weight/c/0/0")
    assert main(["store", "verify", str(store)]) == 1
    assert "head" in capsys.readouterr().out
    assert main(["fit", *flags, "--store", str(store)]) == 1
    assert "the output head" in capsys.readouterr().err


def test_a_deleted_head_is_written_again(store, flags, undisturbed, capsys):
    shutil.rmtree(store / "head")
    assert extracted(store, flags, capsys)["prompts"] == 0
    assert_equal_bits(store, undisturbed)
