"""What the model says when it is asked outright: one task a relation, after the shards."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import psutil

from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint
from lincorr.model.load import shared_model
from lincorr.prompts.subjects import string_subjects
from lincorr.prompts.trees import PromptTemplate, group_templates
from lincorr.store.identity import Passes
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.extract.audit import require_audit
from pipeline.extract.forward import forward, prepare_work
from pipeline.extract.prompts import prompts_of
from pipeline.extract.shard import require_model
from pipeline.extract.stage import model_spec
from pipeline.plan.plan import asked_to_do
from pipeline.prepare.asked import AskedInputs
from pipeline.prepare.prepare import Inputs
from pipeline.runtime.console import Narrator
from pipeline.runtime.device import compute
from pipeline.runtime.executor import Executor, Receipt, Stage, this_worker

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel

ASKED = "asked-"
"""What the keys of these tasks begin with."""

_SEED = 0  # of the audits' samples


@dataclass(frozen=True, slots=True)
class AskTask:
    """One relation whose questions are to be asked.

    Attributes:
        store: URL of the store.
        model, fingerprint: as in `ExtractTask`.
        asked: the questions, their sources and targets.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    asked: AskedInputs

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{ASKED}{self.asked.name}"


def ask(task: AskTask) -> Receipt:
    """Ask all questions about a relation and store the answers. A repeated task writes the same bytes.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the store was made with, or its
            logits are not those of plain prompts.
    """
    require_model(task.model, task.fingerprint)
    model = shared_model(task.model)
    began = time.time()
    store = LogitStore.open(task.store, write=True)
    identity, asked = store.identity, task.asked
    subjects = string_subjects(asked.sources)
    columns = np.array([tokens[0] for tokens in asked.targets], dtype=np.int64)
    answers = np.empty((len(asked.questions), len(asked.sources), len(asked.targets)), np.float32)
    computing = auditing = 0.0
    cut = 0
    for group, templates in _groups(model, asked, identity.passes):
        work = prepare_work(model, identity, templates, subjects)
        found = compute(forward, model, identity, work, [columns] * len(group), _SEED)
        audits = {repr(template.text): audit for template, audit in zip(templates, found.audits, strict=True)}
        require_audit(audits, f"asked about {asked.name!r}", identity.compute)
        answers[group] = found.logits
        computing += found.seconds
        auditing += found.audit_seconds
        cut += found.cut
    described = {
        "questions": [asdict(question) for question in asked.questions],
        "sources": asked.sources,
        "targets": asked.targets,
    }
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=asked.n_prompts,
        bytes_written=store.asked.save(asked.name, answers, described, asked.digest),
        began=began,
        ended=time.time(),
        compute_seconds=computing,
        cut_batches=cut,
        audit_seconds=auditing,
        peak_bytes=psutil.Process().memory_info().rss,
    )


def _groups(
    model: "LanguageModel", asked: AskedInputs, passes: Passes
) -> list[tuple[list[int], list[PromptTemplate]]]:
    """Return the questions (by position) that share a prompt tree, as templates in tokens."""
    subjects = string_subjects(asked.sources)
    texts = [PromptTemplate((), (), question.text) for question in asked.questions]
    templates = [
        _around(prompts, template.text)
        for prompts, template in zip(prompts_of(model.tokenizer, texts, subjects), texts, strict=True)
    ]
    if passes in ("trunk", "trees"):
        groups = group_templates({str(i): template for i, template in enumerate(templates)})
    else:
        groups = [[str(i)] for i in range(len(templates))]
    return [([int(i) for i in group], [templates[int(i)] for i in group]) for group in groups]


def _around(prompts: Sequence[Sequence[int]], text: str) -> PromptTemplate:
    """Return the tokens that all prompts begin and end with: what is around the slot, whatever fills it."""
    before = _common([prompt[:-1] for prompt in prompts])
    after = _common([prompt[: len(before) : -1] for prompt in prompts])
    return PromptTemplate(before, after[::-1], text)


def _common(beginnings: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return what all of some lists begin with."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*beginnings, strict=False))
    return tuple(tokens[0] for tokens in alike)


def missing_asked(store: LogitStore, config: RunConfig, inputs: Inputs) -> list[AskTask]:
    """Return a task for each relation whose answers the store has not, or not undamaged."""
    spec = model_spec(store, config)
    return [AskTask(store.url, spec, inputs.fingerprint, asked) for asked in asked_to_do(store, inputs)]


def ask_all(
    executor: Executor, store: LogitStore, tasks: Sequence[AskTask], narrator: Narrator
) -> list[Receipt]:
    """Run every task; return the receipts."""
    if not tasks:
        return []
    stage = Stage("ask", ask, tasks, overlapping=True, on_device=True)

    def finished(receipt: Receipt) -> None:
        advance(receipt.rows)
        if receipt.cut_batches:
            store.count_cut_batches(receipt.cut_batches)

    total = sum(task.asked.n_prompts for task in tasks)
    with narrator.progress("Asking outright", total, "prompts") as advance:
        return executor.run(stage, finished)
