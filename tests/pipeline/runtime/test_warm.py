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

from lincorr.model import load
from lincorr.model.files import ModelSpec
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


def look(task: Look) -> tuple[int, bool, int, bool]:
    """Its parent, whether its libraries were there, its threads, and whether it had a model."""
    if task.dies is not None and not task.dies.exists():
        task.dies.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    known = "transformers.models.llama.modeling_llama" in sys.modules
    threads = sys.modules["torch"].get_num_threads() if known else 0
    return os.getppid(), known, threads, load._loaded.cache_info().currsize == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_workers_begin_with_what_they_need_also_after_one_was_killed(tmp_path, toy_model, is_there):
    model = ModelSpec(str(toy_model if is_there else tmp_path / "nowhere"), device="cpu")
    settings, before = ClusterSettings(kind="local", workers=2, threads=2), dict(os.environ)
    told: list[str] = []
    with warm.warm_workers(settings, model, PRELOAD):
        assert dict(os.environ) == before
        [server] = [
            p for p in psutil.Process().children() if "multiprocessing.forkserver" in str(p.cmdline())
        ]
        with open_executor(settings, model_bytes=0, tell=told.append) as executor:
            assert server.num_threads() == 1  # what has more must not be forked
            found = executor.run(Stage("look", look, [Look("a", tmp_path / "died"), Look("b"), Look("c")]))
        assert any("1 worker died" in line for line in told)
        assert found == [(server.pid, True, 2, is_there)] * 3
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
    with warm.warm_workers(ClusterSettings(**settings), ModelSpec("nowhere", device=device), PRELOAD):
        assert warm.start_method() == "spawn"


def test_a_model_that_leaves_threads_is_loaded_by_the_workers_themselves(tmp_path, toy_model, monkeypatch):
    """What has several threads must not be forked: the process begins again without the model."""
    (tmp_path / "threaded.py").write_text(
        "import os, threading\n"
        "if 'LINCORR_MODEL_AHEAD' in os.environ:\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "import pipeline.extract.ahead\n"
        "pipeline.extract.ahead._SECONDS = 0\n"
        "import pipeline.extract.preloaded\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    settings = ClusterSettings(kind="local", workers=1, threads=2)
    with (
        warm.warm_workers(settings, ModelSpec(str(toy_model), device="cpu"), "threaded"),
        open_executor(settings, model_bytes=0, tell=print) as executor,
    ):
        [(_, knows, threads, has_model)] = executor.run(Stage("look", look, [Look("a")]))
    assert (knows, threads, has_model) == (True, 2, False)
