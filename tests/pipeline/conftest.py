"""What breaks: a disk, a scheduler, an S3 server of its own."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lincorr.errors import BadInput
from lincorr.store import locations
from pipeline.cli.main import main
from pipeline.config import RunConfig, load_config
from pipeline.extract import asked, stage
from pipeline.extract.shard import extract_shard
from pipeline.runtime.executor import Receipt
from tests.pipeline.cli.toy import write_catalogue

PATIENCE = 120  # seconds until something that must happen has failed to


@dataclass(frozen=True)
class Counted:
    """What tasks of an extraction in this process counted, and what they then said that they had done."""

    steps: list[list[int]]
    receipts: list[Receipt]

    def assert_right(self) -> None:
        """Every prompt was counted once, after the model was there and batch by batch."""
        assert [sum(steps) for steps in self.steps] == [receipt.rows for receipt in self.receipts]
        assert {steps[0] for steps in self.steps} == {0}
        self.steps.clear()
        self.receipts.clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Filled by extractions in this process."""
    found = Counted([], [])

    def noted(plain: Callable[..., Receipt]) -> Callable[..., Receipt]:
        def run(task: Any, count: Callable[[int], None]) -> Receipt:
            steps: list[int] = []
            found.steps.append(steps)
            found.receipts.append(plain(task, steps.append))
            return found.receipts[-1]

        return run

    monkeypatch.setattr(stage, "extract_shard", noted(extract_shard))
    monkeypatch.setattr(asked, "ask", noted(asked.ask))
    return found


@dataclass(frozen=True)
class Disk:
    """A file system of its own."""

    path: Path

    def fill(self) -> None:
        """Write a file until there is no room left."""
        with suppress(OSError), (self.path / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def empty(self) -> None:
        """Delete that file."""
        (self.path / "filler").unlink()

    def remount(self, option: str) -> None:
        """Change its size, or make it read-only."""
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system in memory, with 1 MiB of room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root on Linux")
    yield Disk(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A scheduler in a process of its own, with one worker."""
    file = tmp_path / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    first = psutil.Popen([*command, "--no-dashboard", "--scheduler-file", str(file)], **quiet)
    limit = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < limit, "the scheduler does not start"
        time.sleep(0.01)
    address = json.loads(file.read_text())["address"]
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2"]
    second = psutil.Popen([*command, "--no-dashboard", "--death-timeout", "5"], **quiet)
    yield first, address
    for process in (first, second):
        if process.is_running():
            for part in [*process.children(recursive=True), process]:
                part.kill()
        process.wait()


SERVER = (
    "from moto.server import ThreadedMotoServer as S; import time\n"
    "s = S('127.0.0.1', 0, verbose=False); s.start(); print(s.get_host_and_port()[1], flush=True)\n"
    "time.sleep(600)"
)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """An S3 server in a process of its own, with the bucket `runs`."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    request = urllib.request.Request(f"{url}/runs", method="PUT")
    urllib.request.urlopen(request).close()
    yield url
    server.kill()
    server.communicate()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setitem(locations._RETRIES, "max_retries", 1)


@pytest.fixture(scope="session")
def finished(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with maps and scores, made once."""
    folder = tmp_path_factory.mktemp("finished")
    store = folder / "run.zarr"
    arguments = ["--model", str(toy_model), "--catalogue", str(write_catalogue(folder / "toy.yaml"))]
    arguments += ["--relations", "toy", "--subjects-count", "60", "--cluster-kind", "serial"]
    assert main(["run", *arguments, "--store", str(store), "--json"]) == 0
    return store


@pytest.fixture
def load(tmp_path):
    """Load a configuration from the text of a file and flags."""

    def load(text: str, **flags: str) -> RunConfig:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, {name.replace("__", "."): value for name, value in flags.items()})

    return load


@pytest.fixture
def refusal(load):
    """The one line with which a configuration is refused."""

    def refusal(text: str, **flags: str) -> str:
        with pytest.raises(BadInput) as caught:
            load(text, **flags)
        line = str(caught.value)
        assert "\n" not in line
        return line

    return refusal
