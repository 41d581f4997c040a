"""Workers that are copies of a process which has imported their libraries."""

import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.cli.main import main
from pipeline.config import ClusterSettings
from pipeline.runtime import warm
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Stage
from tests.pipeline.cli.toy import files_of, write_catalogue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
PRELOAD = "pipeline.extract.preloaded"


@dataclass(frozen=True)
class Look:
    """What a worker finds, once it has died if it is told to."""

    key: str
    dies: Path | None = None


def look(task: Look) -> tuple[int, bool, int]:
    """Its parent, whether its libraries were there, and its threads."""
    if task.dies is not None and not task.dies.exists():
        task.dies.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    known = "transformers.models.llama.modeling_llama" in sys.modules
    return os.getppid(), known, sys.modules["torch"].get_num_threads() if known else 0


def test_workers_begin_with_their_libraries_also_after_one_was_killed(tmp_path):
    settings, before = ClusterSettings(kind="local", workers=2, threads=2), dict(os.environ)
    told: list[str] = []
    with warm.warm_workers(settings, "cpu", PRELOAD):
        assert dict(os.environ) == before
        [server] = [
            p for p in psutil.Process().children() if "multiprocessing.forkserver" in str(p.cmdline())
        ]
        with open_executor(settings, model_bytes=0, tell=told.append) as executor:
            assert server.num_threads() == 1  # what has more must not be forked
            found = executor.run(Stage("look", look, [Look("a", tmp_path / "died"), Look("b"), Look("c")]))
        assert any("1 worker died" in line for line in told)
        assert found == [(server.pid, True, 2)] * 3
        assert not server.is_running()  # it holds memory
        assert warm.start_method() == "spawn"


def test_a_refusal_ends_what_was_begun(toy_model, tmp_path, monkeypatch, capsys):
    begun: list[psutil.Process] = []
    ensure = forkserver.ensure_running

    def seen() -> None:
        ensure()
        server: Any = forkserver._forkserver
        begun.append(psutil.Process(server._forkserver_pid))

    monkeypatch.setattr(forkserver, "ensure_running", seen)
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    before = files_of(tmp_path)
    command = ["run", "--model", str(toy_model), "--model-device", "cpu", "--catalogue", str(catalogue)]
    assert main([*command, "--relations", "nowhere", "--store", str(tmp_path / "run.zarr")]) == 2
    assert len(begun) == 1
    assert not begun[0].is_running()
    assert files_of(tmp_path) == before
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "device"), [({"kind": "serial"}, "cpu"), ({"kind": "gpus"}, "cpu"), ({}, "cuda")]
)
def test_nothing_begins_where_workers_are_not_forked(settings, device, monkeypatch):
    monkeypatch.setattr(warm, "may_have_gpu", lambda: True)
    with warm.warm_workers(ClusterSettings(**settings), device, PRELOAD):
        assert warm.start_method() == "spawn"
