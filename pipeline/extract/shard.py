"""One shard of subjects: prompts -> model -> store."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint, fingerprint_of
from lincorr.model.load import shared_model
from lincorr.prompts.subjects import STRING, Subjects
from lincorr.prompts.trees import (
    Batch,
    PromptTemplate,
    Trunk,
    batches,
    group_templates,
    merge_prompts,
    prompt_ids,
    prompt_template,
    trunk_of,
)
from lincorr.store.store import LogitStore
from pipeline.runtime.device import compute
from pipeline.runtime.executor import Receipt, this_worker

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """One subject shard and its missing templates.

    Attributes:
        store: URL of the store.
        model: the model to load; a worker loads it once.
        fingerprint: digests that the worker's copy of the model must have.
        templates: names of templates, all of which the store has.
        added: the templates to ask together: those that one run added (see `templates_added_with`).
        shard: index of the shard.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    templates: tuple[str, ...]
    added: tuple[tuple[str, ...], ...]
    shard: int

    @property
    def key(self) -> str:
        """Names the task."""
        return f"shard-{self.shard}"


def extract_shard(task: ExtractTask) -> Receipt:
    """Run the model on a shard's missing rows and write the shard whole, template by template.

    A repeated task writes the same bytes, also where it repairs one template: every batch is composed of the
    shard's subjects and the templates that were added together, whether or not they are stored already. Two
    tasks in one worker overlap: one has the device while the other prepares or writes.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the store was made with.
    """
    require_model(task.model, task.fingerprint)
    model = shared_model(task.model)
    began = time.time()
    store = LogitStore.open(task.store, write=True)
    subjects = store.subjects(store.shards.rows(task.shard))
    missing = {name for name in task.templates if store.shards.fault(name, task.shard)}
    rows = written = cut = 0
    computing = 0.0
    for templates in _together(model, store, task.added, missing):
        whole = {name: store.shards.whole_rows(name, task.shard) for name in missing & set(templates)}
        work = _prepare(store, list(templates.values()), model, subjects, min(whole.values()))
        answers = compute(_forward, model, store, work, [store.column_ids(name) for name in templates])
        computing += answers.seconds
        cut += answers.cut
        for name, logits, hidden in zip(templates, answers.logits, answers.hidden, strict=True):
            if name not in whole:
                continue
            stored = whole[name]
            if stored:
                logits[:stored] = store.shards.read("logits", name, task.shard)
            if stored and hidden is not None:
                hidden[:stored] = store.shards.read("hidden", name, task.shard)
            rows += len(subjects) - stored
            written += store.shards.write(name, task.shard, logits, hidden)
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=rows,
        bytes_written=written,
        began=began,
        ended=time.time(),
        compute_seconds=computing,
        cut_batches=cut,
        peak_bytes=psutil.Process().memory_info().rss,
    )


_checked: set[tuple[ModelSpec, Fingerprint]] = set()


def require_model(spec: ModelSpec, wanted: Fingerprint) -> None:
    """Check, once a process, that its files of the model are those that the run was planned with.

    Raises:
        LincorrError: they are not.
    """
    if (spec, wanted) in _checked:
        return
    if fingerprint_of(spec) != wanted:
        raise LincorrError(
            f"model: the copy of {spec.source!r} on this worker is not the one that the run was "
            "planned with; give every worker the same files"
        )
    _checked.add((spec, wanted))


def _together(
    model: "LanguageModel", store: LogitStore, added: tuple[tuple[str, ...], ...], missing: set[str]
) -> list[dict[str, PromptTemplate]]:
    """Return the templates of each prompt tree in which one is missing: those that share forward passes."""
    texts = {template.name: template.text for template in store.templates()}
    trees = []
    for names in added:
        templates = {name: prompt_template(model.tokenizer, texts[name]) for name in names if name in texts}
        merged = store.identity.passes in ("trunk", "trees")
        groups = group_templates(templates) if merged else [[name] for name in templates]
        trees += [{name: templates[name] for name in group} for group in groups if missing & set(group)]
    return trees


@dataclass(frozen=True, slots=True)
class _Work:
    """The batches of a shard, and the number of its rows."""

    batches: list[Batch]
    n_rows: int


@dataclass(frozen=True, slots=True)
class _Answers:
    """Logits and hidden states of a shard's rows, template by template; what the passes took.

    Attributes:
        seconds: on the compute thread.
        cut: batches that the device could not hold whole.
    """

    logits: list[Rows]
    hidden: list[Rows | None]
    seconds: float
    cut: int


def _prepare(
    store: LogitStore,
    templates: list[PromptTemplate],
    model: "LanguageModel",
    subjects: Subjects,
    n_kept: int,
) -> _Work:
    """Merge every subject's prompts into batches; those of the first `n_kept` rows only are left out.

    Batches are those of the whole shard, so that a row has the same bits whenever it is computed.
    """
    identity = store.identity
    trunk = trunk_of(templates) if identity.passes == "trunk" else Trunk()
    prompts = [prompt_ids(model.tokenizer, t, subjects.ids.tolist(), subjects.texts) for t in templates]
    trees = [merge_prompts(of_subject, trunk) for of_subject in zip(*prompts, strict=True)]
    free_text = bool((subjects.ids == STRING).any())
    whole = batches(trees, identity.batch_tokens, identity.shard_rows, free_text=free_text)
    return _Work([batch for batch in whole if batch.rows[-1] >= n_kept], len(trees))


def _forward(
    model: "LanguageModel", store: LogitStore, work: _Work, columns: list[NDArray[np.int64]]
) -> _Answers:
    """Make the forward passes of a shard; rows without a batch are left undefined."""
    began = time.perf_counter()
    identity = store.identity
    logits = [np.empty((work.n_rows, len(ids)), np.float32) for ids in columns]
    hidden = np.empty((len(columns), work.n_rows, identity.width), np.float32)
    passed = 0
    if identity.passes == "whole":
        for batch in work.batches:
            logits[0][batch.rows] = model.logits(batch.ids)[: len(batch.rows), columns[0]]
    else:
        readouts = [model.part_of_readout(ids) for ids in columns]
        for batch, states, values in model.passes(work.batches, readouts):
            count = len(batch.rows)
            hidden[:, batch.rows] = states[:count].swapaxes(0, 1)
            for kept, value in zip(logits, values, strict=True):
                kept[batch.rows] = value[:count]
            passed += 1
    kept_hidden: list[Rows | None] = list(hidden) if identity.hidden else [None] * len(columns)
    cut = max(0, passed - len(work.batches))
    return _Answers(logits, kept_hidden, time.perf_counter() - began, cut)
