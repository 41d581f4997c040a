"""The forward passes of some subjects under templates that share them, audited."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.prompts.subjects import Subjects
from lincorr.prompts.trees import Batch, PromptTemplate
from lincorr.scores.audit import Audit
from lincorr.store.identity import Identity
from pipeline.extract.audit import audit_shard
from pipeline.extract.prompts import Prompts, prompts_of, tree_batches
from pipeline.runtime.executor import ignore

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel, Reads

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Work:
    """The prompts of all rows, template by template, and their batches."""

    prompts: Prompts
    batches: list[Batch]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.prompts[0])


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits and hidden states of all rows, template by template; what the passes took.

    Attributes:
        totals: (rows,) log Σ exp of all tokens' logits, if they were wanted.
        audits: of their logits.
        seconds: on the compute thread, and
        audit_seconds: of those, for the audits.
        cut: batches that the device could not hold whole.
    """

    logits: list[Rows]
    totals: list[Rows]
    hidden: list[Rows | None]
    audits: list[Audit]
    seconds: float
    audit_seconds: float
    cut: int


def prepare_work(
    model: "LanguageModel",
    identity: Identity,
    templates: Sequence[PromptTemplate],
    subjects: Subjects,
    n_kept: int = 0,
) -> Work:
    """Merge every subject's prompts into batches; those of the first `n_kept` rows only are left out.

    Batches are those of all rows, so that a row has the same bits whenever it is computed.
    """
    prompts = prompts_of(model.tokenizer, templates, subjects)
    batches = tree_batches(
        prompts, templates, subjects, identity.passes, identity.batch_tokens, identity.shard_rows
    )
    return Work(prompts, [batch for batch in batches if batch.rows[-1] >= n_kept])


def forward(
    model: "LanguageModel",
    identity: Identity,
    work: Work,
    columns: Sequence[NDArray[np.int64]],
    seed: int,
    *,
    hidden: bool,
    totals: bool = False,
    passed_rows: Callable[[NDArray[np.int64]], None] = ignore,
) -> Answers:
    """Make forward passes, and audit them; rows without a batch are left undefined.

    Args:
        work: of templates that share passes.
        columns: template by template, the token ids whose logits are wanted.
        seed: of the audit's sample.
        hidden: whether hidden states are wanted, and
        totals: whether log Σ exp of all tokens' logits is.
        passed_rows: called with the rows of each batch after its pass.
    """
    began = time.perf_counter()
    values = [np.empty((work.n_rows, len(ids) + totals), np.float32) for ids in columns]
    states = np.empty((len(columns), work.n_rows, identity.width), np.float32) if hidden else None
    passed = 0
    if identity.passes == "whole":
        for batch in work.batches:
            values[0][batch.rows] = _read(model.logits(batch.ids)[: len(batch.rows)], columns[0], totals)
            passed_rows(batch.rows)
    else:
        readouts: Sequence[Reads] = [model.part_of_readout(ids) for ids in columns]
        if totals:
            readouts = model.readouts_with_totals(columns)
        for batch, found, read in model.passes(work.batches, readouts, ends_only=identity.ends_only):
            count = len(batch.rows)
            if states is not None:
                states[:, batch.rows] = found[:count].swapaxes(0, 1)
            for kept, value in zip(values, read, strict=True):
                kept[batch.rows] = value[:count]
            passed += 1
            passed_rows(batch.rows)
    answered = time.perf_counter()
    logits = [kept[:, : len(ids)] for kept, ids in zip(values, columns, strict=True)]
    audits = audit_shard(model, work.batches, work.prompts, logits, columns, seed)
    ended = time.perf_counter()
    return Answers(
        logits=logits,
        totals=[kept[:, -1] for kept in values] if totals else [],
        hidden=[None] * len(columns) if states is None else list(states),
        audits=audits,
        seconds=ended - began,
        audit_seconds=ended - answered,
        cut=max(0, passed - len(work.batches)),
    )


def _read(logits: Rows, columns: NDArray[np.int64], total: bool) -> Rows:
    """Return some of all tokens' logits (rows, V), with log Σ exp of all behind them if that is wanted."""
    if not total:
        return logits[:, columns]
    most = logits.max(axis=1, keepdims=True)
    total_of_all = most + np.log(np.exp(logits - most).sum(axis=1, keepdims=True))
    return np.concatenate([logits[:, columns], total_of_all], axis=1)
