"""One shard of subjects: prompts -> model -> store."""

import time
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.models import Fingerprint, ModelSpec, fingerprint, locate, shared_model
from lincorr.prompts import PromptTree, batches, merge_prompts, prompt_ids, prompt_template
from lincorr.store import LogitStore
from lincorr.subjects import Subjects
from lincorr.tokens import Tokenizer
from pipeline.executor import Receipt

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """One subject shard and the templates that it lacks.

    Attributes:
        store: URL of the store.
        model: which model to load; a worker loads it once.
        fingerprint: digests that the worker's copy of it must have.
        templates: names, all of them in the store.
        shard: index of the shard.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    templates: tuple[str, ...]
    shard: int

    @property
    def key(self) -> str:
        """Names the task."""
        return f"shard-{self.shard}"


def extract_shard(task: ExtractTask) -> Receipt:
    """Run the model on a shard's missing rows and write the shard whole, template by template.

    A repeated task writes the same bytes: the composition of every batch depends on the shard alone.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the store was made with.
    """
    began = time.perf_counter()
    _require_model(task.model, task.fingerprint)
    store = LogitStore.open(task.store, write=True)
    subjects = store.subjects(store.shard_slice(task.shard))
    lacking = [name for name in task.templates if store.damage(name, task.shard)]
    rows = written = 0
    computing = 0.0
    for names in _together(store, lacking):
        kept = {name: store.whole_rows(name, task.shard) for name in names}
        started = time.perf_counter()
        results = _forward(task.model, store, names, subjects, n_kept=min(kept.values()))
        computing += time.perf_counter() - started
        for name, (logits, hidden) in results.items():
            if kept[name]:
                logits[: kept[name]] = store.read_shard("logits", name, task.shard)
            if kept[name] and hidden is not None:
                hidden[: kept[name]] = store.read_shard("hidden", name, task.shard)
            rows += len(subjects) - kept[name]
            written += store.write_shard(name, task.shard, logits, hidden)
    return Receipt(
        key=task.key,
        rows=rows,
        bytes_written=written,
        seconds=time.perf_counter() - began,
        compute_seconds=computing,
        peak_bytes=psutil.Process().memory_info().rss,
    )


_checked: set[tuple[ModelSpec, Fingerprint]] = set()


def _require_model(spec: ModelSpec, wanted: Fingerprint) -> None:
    if (spec, wanted) in _checked:
        return
    if fingerprint(locate(spec)) != wanted:
        raise LincorrError(
            f"model: the copy of {spec.source!r} on this worker is not the one that the run was "
            "planned with; give every worker the same files"
        )
    _checked.add((spec, wanted))


def _together(store: LogitStore, names: list[str]) -> list[list[str]]:
    """Say which templates share forward passes: all of them as trees, or each by itself."""
    if store.identity.passes == "trees":
        return [names] if names else []
    return [[name] for name in names]


def _forward(
    spec: ModelSpec, store: LogitStore, names: list[str], subjects: Subjects, *, n_kept: int
) -> dict[str, tuple[Rows, Rows | None]]:
    """Return logits and hidden states of a shard's rows, template by template.

    The first `n_kept` rows are left undefined. Batches are those of the whole shard, so that a row has the
    same bits whenever it is computed.
    """
    model = shared_model(spec)
    identity = store.identity
    columns = [store.column_ids(name) for name in names]
    readouts = [model.part_of_readout(ids) for ids in columns]
    trees = _trees(model.tokenizer, store, names, subjects)
    logits = [np.empty((len(trees), len(ids)), np.float32) for ids in columns]
    hidden = np.empty((len(names), len(trees), identity.width), np.float32)
    for batch in batches(trees, identity.batch_size):
        if batch.rows[-1] < n_kept:
            continue
        count = len(batch.rows)
        if identity.passes == "whole":
            values = [model.logits(batch.ids)[:, columns[0]]]
        else:
            states, values = model.hidden_and_logits(batch.ids, batch.shape, readouts)
            hidden[:, batch.rows] = states[:count].swapaxes(0, 1)
        for kept, value in zip(logits, values, strict=True):
            kept[batch.rows] = value[:count]
    kept_hidden = list(hidden) if identity.hidden else [None] * len(names)
    return {name: (rows, states) for name, rows, states in zip(names, logits, kept_hidden, strict=True)}


def _trees(tokenizer: Tokenizer, store: LogitStore, names: list[str], subjects: Subjects) -> list[PromptTree]:
    """Merge every subject's prompts under the templates."""
    texts = {template.name: template.text for template in store.templates()}
    prompts = [
        prompt_ids(
            tokenizer,
            prompt_template(tokenizer, texts[name]),
            subjects.ids.tolist(),
            subjects.texts,
        )
        for name in names
    ]
    return [merge_prompts(of_subject) for of_subject in zip(*prompts, strict=True)]
