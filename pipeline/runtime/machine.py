"""What this process may use of its machine: cores and memory, under every limit that binds it.

A process in a container or a job has less than its host. Control groups (version 1 and 2) bind containers,
pods, services and most jobs; SLURM says in variables what a job was given, also where it does not enforce it;
Dask restarts a worker that holds more than its limit.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

from lincorr.model.device import use_threads

_ROOT = Path("/")
_MIB = 2**20
# Limit and usage of a group, and what it caches of files, which the kernel takes back first: version 2, 1.
_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory.high", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_CACHES = (("inactive_file", "active_file"), ("total_inactive_file", "total_active_file"))

_dask_limit: int | None = None


def cores() -> int:
    """Count the cores that this process may use, at least 1; a part of one counts as one."""
    return max(1, min([_visible_cores(), *map(math.ceil, _quotas()), *_job_cores()]))


def available_bytes() -> int:
    """Return the bytes of memory that this process may still take, of the host's and of every limit."""
    own = psutil.Process().memory_info().rss
    granted = [limit - own for limit in (*_job_bytes(), *([_dask_limit] if _dask_limit else []))]
    return max(
        0,
        min(
            [
                psutil.virtual_memory().available,
                *(limit - used for limit, used in _limits_of_groups()),
                *granted,
            ]
        ),
    )


def most_bytes() -> int | None:
    """Return the bytes of memory beyond which this process would be ended; None where nothing says."""
    dask = [_dask_limit] if _dask_limit else []
    return min([limit for limit, _ in _limits_of_groups()] + [*_job_bytes(), *dask], default=None)


def killed_for_memory() -> int:
    """Return a number that grows when the kernel kills a process for memory, here or under a limit."""
    lines = (_text(_ROOT / "proc" / "vmstat") or "").splitlines()
    for group in _groups("memory"):
        for name in ("memory.events", "memory.oom_control"):  # version 2, 1
            lines += (_text(group / name) or "").splitlines()
    return sum(
        int(count)
        for name, _, count in (line.partition(" ") for line in lines)
        if name == "oom_kill" and count.isdecimal()
    )


def obey_dask(limit: int | None) -> None:
    """Take over the limit of memory, in bytes, that Dask has set for this worker; None or 0 is no limit."""
    global _dask_limit
    _dask_limit = limit or None


def limit_threads(threads: int | None) -> None:
    """Let this process compute with so many threads; None: with no more than its cores, unless it is told so.

    Libraries count the host's cores: under a quota of one core, 16 threads would wait for one another.
    """
    if threads is not None:
        use_threads(threads)
    elif cores() < _visible_cores() and "OMP_NUM_THREADS" not in os.environ:
        use_threads(cores())


def _visible_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- SLURM ---------------------------------------------------------------------------------------------


def _job_cores() -> Iterator[int]:
    if (count := _variable("SLURM_CPUS_PER_TASK") or _variable("SLURM_CPUS_ON_NODE")) is not None:
        yield count


def _job_bytes() -> Iterator[int]:
    """Yield what a job has on its node, which SLURM gives in MiB: of the node, or a core or GPU."""
    units = (("NODE", 1), ("CPU", _variable("SLURM_CPUS_ON_NODE")), ("GPU", _variable("SLURM_GPUS_ON_NODE")))
    for unit, count in units:
        if count and (each := _variable(f"SLURM_MEM_PER_{unit}")):
            yield each * count * _MIB


def _variable(name: str) -> int | None:
    """Return a positive number of the environment; None for anything else (0: all of the node)."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and int(text) else None


# --- control groups --------------------------------------------------------------------------------------


def _quotas() -> Iterator[float]:
    for group in _groups("cpu"):
        quota, _, period = (_text(group / "cpu.max") or "").partition(" ")
        yield from _ratio(quota, period)
        yield from _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _ratio(quota: str | None, period: str | None) -> Iterator[float]:
    """Yield the cores of a quota; none where it is "max" (version 2) or -1 (version 1)."""
    if quota and period and quota.isdecimal() and period.isdecimal() and int(period):
        yield int(quota) / int(period)


def _limits_of_groups() -> Iterator[tuple[int, int]]:
    """Yield limit and usage, in bytes, of each group that has a limit."""
    for group in _groups("memory"):
        for limit_name, usage_name in _LIMITS:
            limit, used = _text(group / limit_name), _text(group / usage_name)
            if limit and used and limit.isdecimal() and used.isdecimal():
                yield int(limit), max(0, int(used) - _cached(group))


def _cached(group: Path) -> int:
    lines = (line.split() for line in (_text(group / "memory.stat") or "").splitlines())
    stat = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}
    return max(sum(stat.get(name, 0) for name in names) for names in _CACHES)


def _groups(controller: str) -> Iterator[Path]:
    """Yield this process's groups under a controller, and those around them, whose limits bind it as well.

    In a container the path may be the host's, of which only the root is mounted: missing folders are passed.
    """
    mounts = _ROOT / "sys" / "fs" / "cgroup"
    for line in (_text(_ROOT / "proc" / "self" / "cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for mount in [mounts / controller] if names else [mounts, mounts / "unified"]:  # version 1, or 2
            for part in (inner, *inner.parents):
                if ".." not in part.parts:  # outside of this process's namespace
                    yield mount / part


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
