"""Cores and memory under the limits of containers, jobs and Dask, whose files and variables are made up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lincorr.errors import LincorrError
from lincorr.model.device import loaded_bytes
from lincorr.model.files import ModelSpec
from pipeline.config import ClusterSettings, FitSettings
from pipeline.fit.tiles import _require_memory
from pipeline.plan.memory import fit_memory, trial_bytes
from pipeline.report import processes
from pipeline.runtime import machine
from pipeline.runtime.clusters.worker_settings import local_shape
from pipeline.runtime.machine import available_bytes, cores, most_bytes, obey_dask

GB = 10**9
_SLURM = ("CPUS_PER_TASK", "CPUS_ON_NODE", "MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU", "GPUS_ON_NODE")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of 16 cores with 22.6 GB available, without limits; this process holds 0.2 GB of it."""
    memory = type("Memory", (), {"available": int(22.6 * GB)})
    process = type("Process", (), {"memory_info": lambda _: type("Held", (), {"rss": 2 * 10**8})})
    monkeypatch.setattr(psutil, "virtual_memory", memory)
    monkeypatch.setattr(psutil, "Process", process)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    for name in _SLURM:
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    return tmp_path


def write(root: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


V2 = "0::/system.slice/job\n"
V1 = "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n"


def test_without_limits_it_is_the_host(host: Path) -> None:
    assert (cores(), available_bytes(), most_bytes()) == (16, int(22.6 * GB), None)


@pytest.mark.parametrize(
    ("groups", "files", "available"),
    [
        pytest.param(
            "0::/\n", {"memory.max": 600 * 10**6, "memory.current": 10**8}, 5 * 10**8, id="a container"
        ),
        pytest.param(
            V2,
            {
                "system.slice/memory.max": 3 * GB,
                "system.slice/memory.current": GB,
                "system.slice/job/memory.max": "max",
                "system.slice/job/memory.current": GB,
            },
            2 * GB,
            id="a limit around the group",
        ),
        pytest.param(
            V2,
            {
                "system.slice/job/memory.high": 2 * GB,
                "system.slice/job/memory.max": 4 * GB,
                "system.slice/job/memory.current": GB,
                "system.slice/job/memory.stat": f"anon 5\ninactive_file {GB // 2}\nactive_file {GB // 4}",
            },
            2 * GB - GB // 4,
            id="the cache of files is taken back first",
        ),
        pytest.param(
            V1,
            {
                "memory/memory.limit_in_bytes": 3 * GB,  # of the container: the host's path is not mounted
                "memory/memory.usage_in_bytes": 2 * GB,
                "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB}\ntotal_active_file 0",
            },
            2 * GB,
            id="version 1",
        ),
        pytest.param(
            V1,
            {"memory/memory.limit_in_bytes": 9223372036854771712, "memory/memory.usage_in_bytes": GB},
            int(22.6 * GB),
            id="version 1 without a limit",
        ),
        pytest.param("0::/../other\n", {"other/memory.max": 1}, int(22.6 * GB), id="another namespace"),
        pytest.param("0::/\n", {"memory.max": GB, "memory.current": 2 * GB}, 0, id="nothing is left"),
    ],
)
def test_memory_is_what_control_groups_leave(
    host: Path, groups: str, files: dict[str, object], available: int
) -> None:
    write(host, {"proc/self/cgroup": groups})
    write(host / "sys/fs/cgroup", files)
    assert available_bytes() == available
    assert fit_memory(FitSettings()) == available // 2
    assert trial_bytes() <= available


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        (V2, {"system.slice/job/cpu.max": "100000 100000"}, 1),
        (V2, {"system.slice/job/cpu.max": "max 100000", "system.slice/cpu.max": "250000 100000"}, 3),
        (V2, {"system.slice/job/cpu.max": "20000 100000"}, 1),
        (V1, {"cpu/docker/1/cpu.cfs_quota_us": 400000, "cpu/docker/1/cpu.cfs_period_us": 100000}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100000}, 16),
    ],
)
def test_cores_are_what_a_quota_gives(
    host: Path, groups: str, files: dict[str, object], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(host, {"proc/self/cgroup": groups})
    write(host / "sys/fs/cgroup", files)
    assert cores() == count
    workers, threads = local_shape(ClusterSettings(), 10**6)
    assert workers * threads <= count
    started: list[int] = []

    def pool(count: int, *_: object) -> None:
        started.append(count)
        raise InterruptedError

    monkeypatch.setattr(processes, "ProcessPoolExecutor", pool)
    with pytest.raises(InterruptedError):
        processes.call_all(print, 1000)  # type: ignore[arg-type]
    assert started == [min(count, 8)]


@pytest.mark.parametrize(
    ("variables", "available", "count"),
    [
        ({"MEM_PER_NODE": "1024", "CPUS_ON_NODE": "8"}, 2**30, 8),
        ({"MEM_PER_CPU": "512", "CPUS_ON_NODE": "4", "CPUS_PER_TASK": "2"}, 2**31, 2),
        ({"MEM_PER_GPU": "2048", "GPUS_ON_NODE": "2"}, 2**32, 16),
        ({"MEM_PER_NODE": "0", "CPUS_ON_NODE": "16"}, 22.8 * GB, 16),  # 0: all of the node
        ({"MEM_PER_NODE": "x", "CPUS_ON_NODE": "2(x3)"}, 22.8 * GB, 16),
    ],
)
def test_a_slurm_job_is_what_its_variables_say(
    host: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], available: float, count: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert available_bytes() == int(available) - 2 * 10**8
    assert cores() == count


def test_a_worker_obeys_dasks_limit(host: Path) -> None:
    obey_dask(3 * GB)
    try:
        assert available_bytes() == 3 * GB - 2 * 10**8
        assert most_bytes() == 3 * GB
        _require_memory(3 * GB)
        with pytest.raises(LincorrError, match=r"hold 4\.0 GB, and .* is ended beyond 3\.0 GB"):
            _require_memory(4 * GB)
    finally:
        obey_dask(0)
    assert available_bytes() == int(22.6 * GB)


@pytest.mark.parametrize(("dtype", "size"), [("auto", 4), ("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_weights_count_in_the_precision_that_they_are_computed_in(
    tmp_path: Path, dtype: str, size: int
) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [50, 20], "data_offsets": [0, 2000]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2000))
    (tmp_path / "config.json").write_text("{}")
    assert loaded_bytes(tmp_path, ModelSpec("x", dtype=dtype, device="cpu")) == 1000 * size  # type: ignore[arg-type]


@pytest.mark.skipif(cores() < 2, reason="torch takes no more threads than there are cores")
def test_a_process_computes_with_its_cores_or_with_the_threads_that_are_asked_for() -> None:
    program = (
        "import numpy, torch, threadpoolctl\n"
        "import pipeline.runtime.machine as machine\n"
        "from pipeline.config import load_config\n"
        "from pipeline.run import Run\n"
        "def show(**cluster):\n"
        "    flags = {f'cluster.{name}': value for name, value in cluster.items()}\n"
        "    Run(load_config(None, {'model.source': 'x'} | flags))\n"
        "    libraries = threadpoolctl.threadpool_info()\n"
        "    blas = {each['num_threads'] for each in libraries if each['user_api'] == 'blas'}\n"
        "    print(torch.get_num_threads(), *blas)\n"
        "machine._quotas = lambda: [0.5]\n"
        "show()\n"
        "show(kind='serial', threads='2')\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["1 1", "2 2"]
