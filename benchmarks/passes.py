"""One static pass of prompt trees, eager and as compilers make it: what they gain, and what they take first.

    python -m benchmarks.passes [--tokens 512] [--json passes.json]

The same trees in every way, in turns: eager; compiled by Inductor; and on a GPU as a CUDA graph, of the same
kernels or of Inductor's. The first pass compiles or captures, and takes as long.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.extraction import MODEL, Bench
from lincorr.model.load import load_model
from lincorr.prompts.trees import Batch

TURNS = 6
WAYS: dict[str, dict[str, Any]] = {"eager": {}, "compiled": {"backend": "inductor"}}
ON_GPU = {"CUDA graph": {"backend": "cudagraphs"}, "compiled, CUDA graph": {"mode": "reduce-overhead"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--tokens", type=int, help="of a pass; 512, and 16,384 on a GPU")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.model, Path(folder))
        ways, tokens = (WAYS, 512) if bench.model.device == "cpu" else (WAYS | ON_GPU, 16_384)
        rows = compare(bench, options.tokens or tokens, ways)
    print(f"{bench.machine}, {bench.model.dtype}; peak {bench.peak:,.0f} GFLOP/s\n")
    print_rows(rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": bench.machine, "passes": rows}, indent=2))


def compare(bench: Bench, tokens: int, ways: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Time the passes of one batch in each way; compare their logits with the eager ones.

    Differences are in standard deviations of the logits over the columns and subjects.
    """
    columns, batch = bench.one_batch(tokens, tokens)
    passes = {}
    for way, how in ways.items():
        model = load_model(replace(bench.spec, device=bench.model.device))
        if how:
            model.decoder.compile(dynamic=False, **how)
        heads = [model.part_of_readout(ids) for ids in columns]

        def forward(model: Any = model, heads: Any = heads, batch: Batch = batch) -> Any:
            return model.hidden_and_logits(batch.ids, batch.shape, heads, ends_only=True)[1][0]

        began = time.perf_counter()
        first = forward()
        passes[way] = forward, first, time.perf_counter() - began
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(TURNS):
        for way, (forward, *_) in passes.items():
            began = time.perf_counter()
            forward()
            seconds[way].append(time.perf_counter() - began)
    exact, prompts = passes["eager"][1], 2 * len(batch.ids)
    flops = 2 * bench.parameters * batch.ids.size
    return [
        {
            "way": way,
            "first_seconds": first_seconds,
            "ms_per_prompt": 1e3 * min(seconds[way]) / prompts,
            "times_eager": min(seconds["eager"]) / min(seconds[way]),
            "share_of_peak": flops / min(seconds[way]) / 1e9 / bench.peak,
            "difference": float((logits - exact).std() / exact.std()),
        }
        for way, (_, logits, first_seconds) in passes.items()
    ]


def print_rows(rows: list[dict[str, Any]]) -> None:
    print("| way | first pass, s | ms a prompt | times eager | of peak | logits differ by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        rates = f"{row['first_seconds']:.1f} | {row['ms_per_prompt']:.3f} | {row['times_eager']:.2f}"
        print(f"| {row['way']} | {rates} | {row['share_of_peak']:.0%} | {row['difference']:.1e} |")


if __name__ == "__main__":
    main()
