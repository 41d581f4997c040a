"""What the model says when it is asked outright: a few questions a task, after the shards."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

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
from pipeline.prepare.asked import TOGETHER, AskedInputs
from pipeline.prepare.prepare import Inputs
from pipeline.runtime.console import Narrator
from pipeline.runtime.executor import Executor, Receipt, Stage, ignore, this_worker

ASKED = "asked-"
"""What the keys of these tasks begin with."""


@dataclass(frozen=True, slots=True)
class AskTask:
    """Some questions about all sources of a relation.

    Attributes:
        store: URL of the store.
        model, fingerprint: as in `ExtractTask`.
        asked: the questions, their sources and targets.
        first, end: positions of those that are asked.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    asked: AskedInputs
    first: int
    end: int

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return (self.end - self.first) * len(self.asked.sources)

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{ASKED}{self.asked.name}-{self.first}"


def ask(task: AskTask, count: Callable[[int], None] = ignore) -> Receipt:
    """Ask some questions about all sources and store the answers. A repeated task writes the same bytes.

    Args:
        count: called with the number of prompts that were answered since the last call.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the store was made with, or its
            logits are not those of plain prompts; or other answers were begun since.
    """
    require_model(task.model, task.fingerprint)
    model = shared_model(task.model)
    count(0)  # the model is there
    began = time.time()
    store = LogitStore.open(task.store, write=True)
    require_quantization(model, store.identity)
    asked = task.asked
    some = replace(asked, questions=asked.questions[task.first : task.end])
    answers = ask_questions(model, store.identity, some, count)
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=task.n_prompts,
        bytes_written=store.asked.write(asked.name, task.first, answers.logits, asked.digest),
        began=began,
        ended=time.time(),
        compute_seconds=answers.seconds,
        cut_batches=answers.cut,
        audit_seconds=answers.audit_seconds,
        peak_bytes=psutil.Process().memory_info().rss,
    )


def missing_asked(store: LogitStore, config: RunConfig, inputs: Inputs) -> list[AskTask]:
    """Return the tasks for relations whose answers the store has not, or not undamaged."""
    spec = model_spec(store, config)
    return [
        AskTask(store.url, spec, inputs.fingerprint, asked, first, min(first + TOGETHER, count))
        for asked in asked_to_do(store, inputs)
        for count in [len(asked.questions)]
        for first in range(0, count, TOGETHER)
    ]


def ask_all(
    executor: Executor, store: LogitStore, tasks: Sequence[AskTask], narrator: Narrator
) -> list[Receipt]:
    """Run every task, and seal the answers about each relation; return the receipts."""
    if not tasks:
        return []
    relations = {task.asked.name: task.asked for task in tasks}
    for name, asked in relations.items():
        described = {
            "questions": [asdict(question) for question in asked.questions],
            "sources": asked.sources,
            "targets": asked.targets,
        }
        shape = len(asked.questions), len(asked.sources), len(asked.targets)
        store.asked.begin(name, shape, described, asked.digest)

    def finished(receipt: Receipt) -> None:
        tally(receipt.rows, receipt.key)
        if receipt.cut_batches:
            store.count_cut_batches(receipt.cut_batches)

    total = sum(task.n_prompts for task in tasks)
    with narrator.progress("Asking outright", total, "prompts") as tally:
        stage = Stage("ask", ask, tasks, overlapping=True, on_device=True, under_way=tally.under_way)
        receipts = executor.run(stage, finished)
    for name, asked in relations.items():
        store.asked.finish(name, asked.digest)
    return receipts
