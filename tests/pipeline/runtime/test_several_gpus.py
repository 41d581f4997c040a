"""Several GPUs without any: dask-cuda's own code starts a worker on each of four that are made up."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline.config import ClusterSettings
from pipeline.plan import memory as rules
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Stage
from tests.pipeline.cli.toy import write_catalogue
from tests.pipeline.fit.test_owners import TILE, assert_owned, fit_logged
from tests.pipeline.runtime.four_gpus import environment
from tests.stores import DATA, arrays

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("dask_cuda") is None,
        reason="dask-cuda is not installed; pip install --no-deps dask-cuda",
    ),
]


def where(task: int) -> tuple[str, int]:
    """Return the devices that a task's process sees, and the process."""
    time.sleep(0.3)
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()


def deadly(marker: str) -> tuple[str, int]:
    """Kill the process of the first task that begins."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return where(0)
    os.kill(os.getpid(), 9)
    raise AssertionError


def first(seen: str) -> str:
    """Return the device that is a process's own."""
    return seen.partition(",")[0]


def report(workers: int | None, marker: str, each: int) -> None:
    """Print, as JSON, where 32 tasks ran on `gpus`, and where 16 ran of which one killed its worker."""
    settings = ClusterSettings(kind="gpus", workers=workers, gpus_per_worker=each)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as cluster:
        even = cluster.run(Stage("where", where, range(32), overlapping=True, on_device=True))
        after = cluster.run(Stage("deadly", deadly, [marker] * 16, overlapping=True, on_device=True))
    print(json.dumps([even, after]))


def ran(
    folder: Path, visible: str | None, workers: int | None = None, each: int = 1
) -> subprocess.CompletedProcess[str]:
    """Call `report` in a process that has the four GPUs."""
    code = f"from {__name__} import report; report({workers!r}, {str(folder / 'killed')!r}, {each})"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment(folder / "stubs", visible), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("visible", "devices"),
    [
        (None, ["0", "1", "2", "3"]),
        ("3,1", ["3", "1"]),
        ("GPU-2,GPU-0,GPU-3", ["GPU-2", "GPU-0", "GPU-3"]),
        ("MIG-a,MIG-b,MIG-c", ["MIG-a", "MIG-b", "MIG-c"]),
    ],
)
def test_each_gpu_has_one_worker_and_its_share_of_the_tasks(
    visible: str | None, devices: list[str], tmp_path: Path
) -> None:
    done = ran(tmp_path, visible)
    assert done.returncode == 0, done.stderr
    even, after = json.loads(done.stdout)
    processes = {first(seen): pid for seen, pid in even}
    assert sorted(processes) == sorted(devices)
    assert len(set(processes.values())) == len({pid for _, pid in even}) == len(devices)
    for seen, _ in even:  # every worker sees them all, its own first
        assert sorted(seen.split(",")) == sorted(devices)
    shares = Counter(first(seen) for seen, _ in even)
    assert max(shares.values()) <= 2 * min(shares.values()), shares
    assert len(after) == 16
    assert {first(seen) for seen, _ in after} <= set(devices)
    assert len({pid for _, pid in after} & set(processes.values())) >= len(devices) - 1


def test_fewer_workers_than_gpus_take_the_first(tmp_path: Path) -> None:
    done = ran(tmp_path, None, workers=2)
    assert done.returncode == 0, done.stderr
    even, _ = json.loads(done.stdout)
    assert {first(seen) for seen, _ in even} == {"0", "1"}


@pytest.mark.parametrize(
    ("visible", "workers", "owned"),
    [
        (None, None, [{"0", "1"}, {"2", "3"}]),
        ("3,1,GPU-0", None, [{"3", "1"}]),
        ("3,1,2,0", 1, [{"3", "1"}]),
        ("MIG-a,MIG-c,GPU-2,GPU-3", 2, [{"MIG-a", "MIG-c"}, {"GPU-2", "GPU-3"}]),
    ],
)
def test_a_worker_of_two_gpus_shares_neither(
    visible: str | None, workers: int | None, owned: list[set[str]], tmp_path: Path
) -> None:
    done = ran(tmp_path, visible, workers, each=2)
    assert done.returncode == 0, done.stderr
    even, after = json.loads(done.stdout)
    processes = {}
    for seen, pid in even + after:  # the second has workers that were started again
        own = set(seen.split(","))
        assert own in owned
        processes[pid] = frozenset(own)
    assert {frozenset(own) for own in owned} == set(processes.values())
    assert len({pid for _, pid in even}) == len(owned)


def test_too_few_gpus_for_one_worker_are_one_line(tmp_path: Path) -> None:
    done = ran(tmp_path, "0,1", each=4)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lincorr.errors.BadInput: cluster.gpus_per_worker: 4 GPUs are asked for and 2"), (
        last
    )


@pytest.mark.parametrize(("visible", "workers"), [("0,1", 3), ("", None), ("0,card", None), ("GPU-9", None)])
def test_gpus_that_are_not_there_are_one_line(visible: str, workers: int | None, tmp_path: Path) -> None:
    done = ran(tmp_path, visible, workers)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lincorr.errors.BadInput: cluster."), done.stderr


def test_an_extraction_on_four_gpus_has_the_bits_of_one_worker(tmp_path: Path, toy_model: Path) -> None:
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    command = [sys.executable, "-m", "pipeline", "extract", "--model", str(toy_model), "--relations", "toy"]
    command += ["--catalogue", str(catalogue), "--subjects-count", "64", "--store-shard-rows", "8"]
    command += ["--cluster-threads", "1", "--cluster-batch-tokens", "128"]
    variables = environment(tmp_path / "stubs", None)
    for kind, more in (("gpus", []), ("local", ["--cluster-workers", "1"])):
        options = ["--cluster-kind", kind, *more, "--store", str(tmp_path / f"{kind}.zarr")]
        done = subprocess.run(
            [*command, *options], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    one, four = (arrays(str(tmp_path / f"{kind}.zarr"), *DATA) for kind in ("local", "gpus"))
    assert one.keys() == four.keys()
    for name, values in one.items():
        assert values.tobytes() == four[name].tobytes(), name


def fit_on_gpus(folder: str) -> None:
    """Fit by tiles on `gpus`, and write down who makes which."""
    with patch.object(rules, "largest_tile", return_value=TILE):  # of this process, which lists the tasks
        fit_logged(Path(folder), ClusterSettings(kind="gpus"))


def test_a_tiled_fit_uses_four_gpus_and_each_owns_its_tiles(tmp_path: Path) -> None:
    code = f"from {__name__} import fit_on_gpus; fit_on_gpus({str(tmp_path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path / "stubs", None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_owned(tmp_path / "log", 4)
