"""How long a run takes to begin, against runs that were timed (benchmarks/README.md, "Starting")."""

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config import ClusterSettings
from pipeline.plan.start import Start, start_here
from pipeline.plan.workload import Workload
from tests.pipeline.plan.configurations import SMOLLM2, planned


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("smollm2")
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    flags = {"relations": "plus-1-plus-2", "subjects.count": "64", "cluster.batch_tokens": "512"}
    found = planned({"model.source": str(folder)} | flags)
    assert found.file_bytes == pytest.approx(538_090_408, rel=1e-3)  # of the file on disk
    return found


# seconds from the command to the first forward pass of the run's own work, on two cores
@pytest.mark.parametrize(
    ("start", "measured"),
    [
        (Start("forked", several=True, is_new=True), 10.1),
        (Start("serial", several=False, is_new=True), 10.0),
        (Start("spawned", several=False, is_new=True), 17.6),  # the one that has checked the model
        (Start("spawned", several=True, is_new=True), 24.9),  # another one
    ],
)
def test_a_start_takes_as_long_as_it_did(start: Start, measured: float, work: Workload) -> None:
    disk, rate = 2e9, 0.7 * 280e9  # bytes and operations a second
    found = start.seconds(work, rate, reading=work.file_bytes / disk)
    assert found == pytest.approx(measured, rel=0.07)
    assert not work.tries_batches  # they are set
    tried = start.seconds(replace(work, tries_batches=True), rate, reading=0.0)
    assert tried == pytest.approx(found - work.file_bytes / disk + 7.85, abs=0.5)


def test_batch_sizes_are_tried_out_where_they_are_not_set(flags: dict[str, str]) -> None:
    del flags["cluster.batch_tokens"]
    assert planned(flags).tries_batches


LOCAL: dict[str, Any] = {"kind": "local"}


@pytest.mark.parametrize(
    ("settings", "changes", "workers"),
    [
        (LOCAL, {}, "forked"),
        (LOCAL, {"is_new": False}, "spawned"),
        (LOCAL, {"is_remote": True}, "spawned"),
        (LOCAL, {"platform": "win32"}, "spawned"),
        (LOCAL, {"platform": "darwin"}, "spawned"),
        (LOCAL, {"gpu": True}, "spawned"),
        (LOCAL, {"gpu": True, "device": "cpu"}, "forked"),
        ({"kind": "gpus"}, {"gpu": True}, "spawned"),
        ({"kind": "slurm"}, {}, "spawned"),
        ({"kind": "serial"}, {}, "serial"),
    ],
)
def test_workers_are_forked_where_they_can_be(
    settings: dict[str, Any], changes: dict[str, Any], workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", changes.get("platform", "linux"))
    monkeypatch.setattr("pipeline.runtime.warm.may_have_gpu", lambda: changes.get("gpu", False))
    where = {"is_new": changes.get("is_new", True), "is_remote": changes.get("is_remote", False)}
    found = start_here(ClusterSettings(**settings), changes.get("device", "auto"), **where)
    assert found.workers == workers
    assert found.several == (workers != "serial")


def test_a_store_that_is_there_needs_no_checks(work: Workload) -> None:
    new, old = (Start("spawned", several=True, is_new=is_new) for is_new in (True, False))
    faster = new.seconds(work, 1e11, reading=0.0) - old.seconds(work, 1e11, reading=0.0)
    assert faster > 7 + 2 * 106e6 * 1_000 / 1e11  # imports of the others, who need not wait; and passes
