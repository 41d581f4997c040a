"""One shard of subjects: prompts -> model -> store."""

import time
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.models import Fingerprint, ModelSpec, fingerprint, locate, shared_model
from lincorr.prompts import batches, prompt_ids, prompt_template
from lincorr.relations import Template
from lincorr.store import LogitStore
from lincorr.subjects import Subjects
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
    texts = {template.name: template.text for template in store.templates()}
    rows = written = 0
    computing = 0.0
    for name in task.templates:
        if store.damage(name, task.shard) is None:
            continue  # another attempt at this task got this far
        n_kept = store.whole_rows(name, task.shard)
        started = time.perf_counter()
        logits, hidden = _forward(task.model, store, Template(name, texts[name]), subjects, n_kept)
        computing += time.perf_counter() - started
        if n_kept:
            logits[:n_kept] = store.read_shard("logits", name, task.shard)
        if n_kept and hidden is not None:
            hidden[:n_kept] = store.read_shard("hidden", name, task.shard)
        rows += len(subjects) - n_kept
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


def _forward(
    spec: ModelSpec, store: LogitStore, template: Template, subjects: Subjects, n_kept: int
) -> tuple[Rows, Rows | None]:
    """Return logits and hidden states of all rows of a shard; the first `n_kept` are left undefined.

    Batches are those of the whole shard, so that a row has the same bits whenever it is computed.
    """
    model = shared_model(spec)
    identity = store.identity
    columns = store.column_ids(template.name)
    everything = len(columns) == identity.vocabulary_size
    readout = model.part_of_readout(None if everything else columns)
    prompts = prompt_ids(
        model.tokenizer,
        prompt_template(model.tokenizer, template.text),
        subjects.ids.tolist(),
        subjects.texts,
    )
    logits = np.empty((len(prompts), len(columns)), np.float32)
    hidden = np.empty((len(prompts), identity.width), np.float32) if identity.hidden else None
    for rows, ids in batches(prompts, identity.batch_size):
        if rows[-1] < n_kept:
            continue
        if hidden is not None:
            states, values = model.hidden_and_logits(ids, readout)
            hidden[rows] = states[: len(rows)]
        else:
            values = model.logits(ids)[:, columns]
        logits[rows] = values[: len(rows)]
    return logits, hidden
