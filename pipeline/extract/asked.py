"""What the model says when it is asked outright: one task a relation, after the shards."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psutil

from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint
from lincorr.model.load import shared_model
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.extract.questions import ask_questions
from pipeline.extract.shard import require_model, require_quantization
from pipeline.extract.stage import model_spec
from pipeline.plan.plan import asked_to_do
from pipeline.prepare.asked import AskedInputs
from pipeline.prepare.prepare import Inputs
from pipeline.runtime.console import Narrator
from pipeline.runtime.executor import Executor, Receipt, Stage, this_worker

ASKED = "asked-"
"""What the keys of these tasks begin with."""


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
    require_quantization(model, store.identity)
    asked = task.asked
    answers = ask_questions(model, store.identity, asked)
    described = {
        "questions": [asdict(question) for question in asked.questions],
        "sources": asked.sources,
        "targets": asked.targets,
    }
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=asked.n_prompts,
        bytes_written=store.asked.save(asked.name, answers.logits, described, asked.digest),
        began=began,
        ended=time.time(),
        compute_seconds=answers.seconds,
        cut_batches=answers.cut,
        audit_seconds=answers.audit_seconds,
        peak_bytes=psutil.Process().memory_info().rss,
    )


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
