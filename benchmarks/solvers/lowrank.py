"""The same full-vocabulary logits without hidden states: a random sketch beside the exact factored fit."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.solvers.machine import PeakMemory, print_table
from benchmarks.solvers.tiled import Timed
from benchmarks.solvers.vocabulary import OpenRelation, every_output
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import string_subjects
from lincorr.solvers.choose import choose
from lincorr.solvers.result import Factors
from lincorr.solvers.spectrum import solve
from lincorr.store.store import LogitStore
from pipeline.config import ClusterSettings, FitSettings
from pipeline.fit.inputs import FitInputs
from pipeline.fit.problem import set_up
from pipeline.fit.relation import fit_relation
from pipeline.plan.memory import fit_memory
from pipeline.runtime.dask_executor import open_executor

SHARD_ROWS = 64
COST = {
    "logits_gb": ("GB of logits", ".2f"),
    "kept": ("made in, s", ".1f"),
    "seconds": ("lowrank, s", ".1f"),
    "factored": ("factored, s", ".1f"),
    "worker_gb": ("GB a worker", ".2f"),
    "own_gb": ("GB of the client", ".2f"),
}
MAPS = {
    "root_penalty": ("√λ/σ₁", ".4f"),
    "rank": ("rank", "d"),
    "rank_factored": ("factored's", "d"),
    "gap": ("gap", ".1f"),
    "error": ("W against factored", ".1e"),
    "residual": ("sketch misses", ".1e"),
}


def measure(opened: OpenRelation, folder: Path, most_rows: int, memory_gb: float) -> dict[str, Any]:
    """Keep the logits of all tokens, fit all tokens to all tokens from them, and compare W."""
    known = opened.fit_inputs()
    rows = known.fit_rows[:most_rows]
    inputs = every_token(opened, replace(known, fit_rows=rows), fit_memory(FitSettings(memory=memory_gb)))
    began = time.perf_counter()
    store = keep_logits(opened, str(folder / "logits.zarr"), inputs, rows)
    kept = time.perf_counter() - began
    lowrank = replace(inputs, fit_rows=np.arange(len(rows)), test_rows=rows[:0])
    two_workers = ClusterSettings(kind="local", workers=2, threads=1)
    with (
        open_executor(two_workers, model_bytes=0, tell=lambda _: None, keep_memory=False) as executor,
        PeakMemory() as memory,
    ):
        timed = Timed(executor)
        began = time.perf_counter()
        fit_relation(store, lowrank, lambda: timed)
        seconds = time.perf_counter() - began
    began = time.perf_counter()
    exact = every_output(opened, set_up(opened.store, replace(known, fit_rows=rows), "vocabulary"))
    factored_seconds = time.perf_counter() - began
    found = []
    for name in lowrank.fit_names("domain"):
        fitted = store.maps.load(inputs.relation.name, name)
        root = fitted.diagnosis.root_penalty
        expected = solve(exact, root)
        found.append(
            {
                "root_penalty": root,
                "rank": fitted.diagnosis.cut.rank,
                "rank_factored": expected.diagnosis.cut.rank,
                "gap": fitted.diagnosis.cut.gap,
                "error": distance(fitted.weights, expected.weights),
                "residual": fitted.diagnosis.normal_residual,
            }
        )
    size = sum(path.stat().st_size for path in Path(store.url, "logits").rglob("*") if path.is_file())
    cost = {
        "logits_gb": size / 1e9,
        "kept": kept,
        "seconds": seconds,
        "worker_gb": memory.worker / 1e9,
        "own_gb": memory.own / 1e9,
        "factored": factored_seconds,
        "stages": timed.seconds,
    }
    print(
        f"{len(rows):,} subjects, {opened.n_tokens:,} x {opened.n_tokens:,}, {memory_gb:g} GB a worker, "
        "2 workers\n"
    )
    print_table([cost], COST)
    print_table(found, MAPS)
    print_table([timed.seconds], {name: (f"{name}, s", ".1f") for name in timed.seconds})
    return {"cost": cost, "maps": found}


def every_token(opened: OpenRelation, inputs: FitInputs, memory_bytes: int) -> FitInputs:
    """The same relation from every token to every token, by lowrank."""
    texts = tuple(opened.inputs.token_texts)
    every = Columns(np.arange(opened.n_tokens), texts, texts, (True,) * len(texts), {})
    choice = choose(
        len(inputs.fit_rows),
        opened.n_tokens,
        opened.n_tokens,
        width=opened.store.identity.width,
        hidden=False,
        memory_bytes=memory_bytes,
        method="lowrank",
    )
    relation = replace(inputs.relation, source=every, target=every)
    return replace(inputs, relation=relation, choices={"domain": choice}, memory_bytes=memory_bytes)


def keep_logits(opened: OpenRelation, url: str, inputs: FitInputs, rows: Any) -> LogitStore:
    """Make a store of the float32 logits of all tokens, without hidden states."""
    store = LogitStore.create(url, replace(opened.store.identity, hidden=False, shard_rows=SHARD_ROWS))
    store.add_subjects(string_subjects([f"row {row}" for row in rows]))
    head = opened.store.readout()
    for side in (inputs.relation.relation.source, inputs.relation.relation.target):
        store.add_template(side.template, inputs.relation.source)
        for shard in range(store.shards.count):
            hidden = opened.store.hidden(side.template.name, rows[store.shards.rows(shard)])
            store.shards.write(side.template.name, shard, head.logits(hidden.astype(np.float32)), None)
    return store


def distance(one: Any, other: Any) -> float:
    """Return ‖W₁ - W₂‖ / ‖W₂‖ of two factored matrices, without forming either.

    ``W₁ - W₂ = [L₁ L₂] diag(C₁, -C₂) [R₁ R₂]ᵀ``; the orthonormal parts of both outer factors do not count.
    """
    assert isinstance(one, Factors)
    assert isinstance(other, Factors)
    left, right = (
        np.asarray(np.linalg.qr(np.concatenate(sides, axis=1), mode="r"))
        for sides in ((one.left, other.left), (one.right, other.right))
    )
    r, s = one.core.shape
    difference = left[:, :r] @ one.core @ right[:, :s].T - left[:, r:] @ other.core @ right[:, s:].T
    size = np.linalg.norm(left[:, r:] @ other.core @ right[:, s:].T)
    return float(np.linalg.norm(difference) / size)
