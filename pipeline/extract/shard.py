"""One shard of subjects: prompts -> model -> store."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint, fingerprint_of
from lincorr.model.load import shared_model
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import PromptTemplate
from lincorr.scores.audit import Audit
from lincorr.store.identity import Identity, quantized_by
from lincorr.store.store import LogitStore
from pipeline.extract.audit import require_audit
from pipeline.extract.forward import Rows, forward, prepare_work
from pipeline.extract.prompts import template_groups
from pipeline.runtime.device import compute
from pipeline.runtime.executor import Receipt, ignore, this_worker

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel


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
        prompts: that are missing, as the plan found them; the task looks again.
        run: identifies the run that made the task; in its time subjects and templates stay.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    templates: tuple[str, ...]
    added: tuple[tuple[str, ...], ...]
    shard: int
    prompts: int
    run: str

    @property
    def key(self) -> str:
        """Names the task."""
        return f"shard-{self.shard}"


def extract_shard(task: ExtractTask, count: Callable[[int], None] = ignore) -> Receipt:
    """Run the model on a shard's missing rows and write the shard whole, template by template.

    A repeated task writes the same bytes, also where it repairs one template: every batch is composed of the
    shard's subjects and the templates that were added together, whether or not they are stored already. Two
    tasks in one worker overlap: one has the device while the other prepares or writes.

    Args:
        count: called with the number of prompts that were answered since the last call.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the store was made with, or its
            logits are not those of plain prompts.
    """
    require_model(task.model, task.fingerprint)
    model = shared_model(task.model)
    count(0)  # the model is there
    began = time.time()
    opened = _opened(task.store, task.run)
    store = opened.store
    require_quantization(model, store.identity)
    subjects = store.subjects(store.shards.rows(task.shard))
    counts = {name: store.shards.whole_rows(name, task.shard) for name in task.templates}
    missing = {name: count for name, count in counts.items() if count != len(subjects)}
    rows = written = cut = 0
    computing = auditing = 0.0
    for templates in opened.together(model, task.added):
        whole = {name: missing[name] for name in templates if name in missing}
        if not whole:
            continue
        work = prepare_work(model, store.identity, list(templates.values()), subjects, min(whole.values()))
        columns = [store.column_ids(name) for name in templates]
        identity = store.identity
        passed = _prompts_counted(count, whole)
        answers = compute(
            forward, model, identity, work, columns, task.shard, hidden=identity.hidden, passed_rows=passed
        )
        audits = {f"template {name!r}": audit for name, audit in zip(templates, answers.audits, strict=True)}
        require_audit(audits, f"shard {task.shard}", identity.compute)
        computing += answers.seconds
        auditing += answers.audit_seconds
        cut += answers.cut
        for name, logits, hidden, audit in zip(
            templates, answers.logits, answers.hidden, answers.audits, strict=True
        ):
            if name in whole:
                rows += len(subjects) - whole[name]
                written += _write(store, task.shard, name, whole[name], logits, hidden, audit)
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=rows,
        bytes_written=written,
        began=began,
        ended=time.time(),
        compute_seconds=computing,
        cut_batches=cut,
        audit_seconds=auditing,
        peak_bytes=psutil.Process().memory_info().rss,
    )


def _write(
    store: LogitStore, shard: int, name: str, stored: int, logits: Rows, hidden: Rows | None, audit: Audit
) -> int:
    """Write a template's rows of a shard, the first of them as they are stored; return the bytes written."""
    if stored:
        audit += store.shards.audit(name, shard)
        logits[:stored] = store.shards.read("logits", name, shard)
    if stored and hidden is not None:
        hidden[:stored] = store.shards.read("hidden", name, shard)
    return store.shards.write(name, shard, logits, hidden, audit)


def _prompts_counted(
    count: Callable[[int], None], stored: Mapping[str, int]
) -> Callable[[NDArray[np.int64]], None]:
    """Return what counts the prompts of passed rows, of each template those beyond its stored ones."""
    templates = Counter(stored.values())  # mostly all of them have as many
    return lambda rows: count(sum(n * int(np.count_nonzero(rows >= first)) for first, n in templates.items()))


_digests: dict[ModelSpec, Fingerprint] = {}


def digest_model(
    spec: ModelSpec, tokenizer: Tokenizer | None = None, weights: Callable[[], str] | None = None
) -> Fingerprint:
    """Return the digests of this process's files of a model, and remember them for `require_model`.

    Args:
        tokenizer, weights: as of `fingerprint_of`.
    """
    found = _digests[_files_of(spec)] = fingerprint_of(spec, tokenizer, weights)
    return found


def require_model(spec: ModelSpec, wanted: Fingerprint) -> None:
    """Check, once a process, that its files of the model are those that the run was planned with.

    Raises:
        LincorrError: they are not.
    """
    if _digests.get(_files_of(spec)) != wanted and digest_model(spec) != wanted:
        raise LincorrError(
            f"model: the copy of {spec.source!r} on worker {this_worker()} is not the one that the run was "
            "planned with; give every worker the same files and the same version of transformers"
        )


def _files_of(spec: ModelSpec) -> ModelSpec:
    return replace(spec, dtype="auto", device="auto")  # the files are the same


def require_quantization(model: "LanguageModel", identity: Identity) -> None:
    """Check that a worker computes with quantised weights as the store's did: kernels depend on the device.

    Raises:
        LincorrError: they are not.
    """
    here, made = (quantized_by(phrase) for phrase in (model.quantization, identity.quantization))
    if identity.quantization and here != made:
        raise LincorrError(
            f"model: worker {this_worker()} computes with weights as {here}, and the store was made with "
            f"those as {made}: devices or packages differ; use the same, or name another store"
        )


class _Opened:
    """A store that a worker has opened for a run, and the prompt trees that its shards share."""

    def __init__(self, url: str) -> None:
        self.store = LogitStore.open(url, write=True)
        self._together: dict[tuple[tuple[str, ...], ...], list[dict[str, PromptTemplate]]] = {}

    def together(
        self, model: "LanguageModel", added: tuple[tuple[str, ...], ...]
    ) -> list[dict[str, PromptTemplate]]:
        """Return the templates of each prompt tree: those that share forward passes."""
        if added not in self._together:
            self._together[added] = _trees(model, self.store, added)
        return self._together[added]


@lru_cache(maxsize=1)
def _opened(url: str, run: str) -> _Opened:
    return _Opened(url)


def _trees(
    model: "LanguageModel", store: LogitStore, added: tuple[tuple[str, ...], ...]
) -> list[dict[str, PromptTemplate]]:
    texts = {template.name: template.text for template in store.templates()}
    trees = []
    for names in added:
        known = {name: texts[name] for name in names if name in texts}
        groups = template_groups(model.tokenizer, known, store.identity.passes)
        for group in groups:
            for name, prompt in group.items():
                store.check_prompt(name, prompt)
        trees += groups
    return trees
