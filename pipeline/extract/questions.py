"""The answers to questions about the sources of a relation: prompts, branches of several tokens, and sums.

A question has one end where its prompt ends. Where answers have several tokens, it has one end more for every
beginning of an answer: the prompt goes on with that beginning, and the probability of the answer's next token
is read there. All ends of a question about one source are branches of one tree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.prompts.subjects import string_subjects
from lincorr.prompts.trees import (
    Batch,
    PromptTemplate,
    Trunk,
    batches,
    group_templates,
    merge_prompts,
    trunk_of,
)
from lincorr.scores.audit import NOT_AUDITED, Audit
from lincorr.store.asked import Answers as Logits
from lincorr.store.identity import Identity, Passes
from pipeline.extract.audit import require_audit
from pipeline.extract.forward import Answers, Work, forward
from pipeline.extract.prompts import Prompts, prompts_of
from pipeline.prepare.asked import AskedInputs
from pipeline.runtime.device import compute
from pipeline.runtime.executor import ignore

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel

_SEED = 0  # of the audits' samples


@dataclass(frozen=True, slots=True)
class _End:
    """Where a question's prompt ends, with the beginning of an answer behind it; what tokens may follow."""

    question: int
    beginning: tuple[int, ...]
    following: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers (k, p, q) to all questions, float32, and what the passes took (see `forward.Answers`)."""

    logits: Logits
    seconds: float
    audit_seconds: float
    cut: int


def ask_questions(
    model: "LanguageModel", identity: Identity, asked: AskedInputs, count: Callable[[int], None] = ignore
) -> Asked:
    """Ask all questions: of one-token answers their logits, else the sums of their tokens' log-probabilities.

    Args:
        count: called with the number of prompts that were answered since the last call.

    Raises:
        LincorrError: a sample of the logits are not those of plain prompts.
    """
    subjects = string_subjects(asked.sources)
    texts = [PromptTemplate((), (), question.text) for question in asked.questions]
    prompts = prompts_of(model.tokenizer, texts, subjects)
    templates = [_around(of_one, text.text) for of_one, text in zip(prompts, texts, strict=True)]
    logits = np.zeros((len(prompts), len(subjects), len(asked.targets)), np.float32)
    found = []
    for ends in _groups(asked, templates, identity.passes):
        whole: Prompts = [[[*ids, *end.beginning] for ids in prompts[end.question]] for end in ends]
        grown_from = [templates[end.question] for end in ends]
        columns = [np.array(end.following, dtype=np.int64) for end in ends]
        work = Work(whole, _batches(whole, grown_from, identity))
        passed = _prompts_counted(count, ends)
        found.append(
            compute(
                forward,
                model,
                identity,
                work,
                columns,
                _SEED,
                hidden=False,
                totals=asked.sums,
                passed_rows=passed,
            )
        )
        audits: dict[str, Audit] = {}
        for end, audit in zip(ends, found[-1].audits, strict=True):
            text = repr(texts[end.question].text)
            audits[text] = audits.get(text, NOT_AUDITED) + audit
        require_audit(audits, f"asked about {asked.name!r}", identity.compute)
        _add(logits, asked.targets, ends, found[-1])
    return Asked(
        logits,
        sum(one.seconds for one in found),
        sum(one.audit_seconds for one in found),
        sum(one.cut for one in found),
    )


def _prompts_counted(
    count: Callable[[int], None], ends: Sequence[_End]
) -> Callable[[NDArray[np.int64]], None]:
    """Return what counts the prompts of passed rows: one for each question, however many ends it has."""
    prompts = sum(not end.beginning for end in ends)
    return lambda rows: count(prompts * len(rows))


def _batches(prompts: Prompts, templates: Sequence[PromptTemplate], identity: Identity) -> list[Batch]:
    """Return the batches of all trees, not filled up: what is asked about is always all of it."""
    trunk = trunk_of(templates) if identity.passes == "trunk" else Trunk()
    trees = [merge_prompts(of_source, trunk) for of_source in zip(*prompts, strict=True)]
    filled = batches(trees, identity.batch_tokens, identity.shard_rows)
    return [replace(batch, ids=batch.ids[: len(batch.rows)]) for batch in filled]


def _groups(asked: AskedInputs, templates: Sequence[PromptTemplate], passes: Passes) -> list[list[_End]]:
    """Return the ends that share a prompt tree: of one-token answers several questions, else one question."""
    ends = [[_End(i, *branch) for branch in _branches(asked.targets)] for i in range(len(templates))]
    if passes not in ("trunk", "trees"):
        return [[end] for of_question in ends for end in of_question]
    if asked.sums:
        return ends
    named = {str(i): template for i, template in enumerate(templates)}
    return [[end for name in group for end in ends[int(name)]] for group in group_templates(named)]


def _branches(targets: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return every beginning of an answer, the empty one first, with the tokens that may follow it."""
    following: dict[tuple[int, ...], dict[int, None]] = {(): {}}
    for tokens in targets:
        for n, token in enumerate(tokens):
            following.setdefault(tokens[:n], {})[token] = None
    return [(beginning, tuple(tokens)) for beginning, tokens in following.items()]


def _add(logits: Logits, targets: Sequence[tuple[int, ...]], ends: Sequence[_End], found: Answers) -> None:
    """Add what was read at each end to the answers (k, p, q) that go through it."""
    through: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for column, tokens in enumerate(targets):
        for n, token in enumerate(tokens):
            through.setdefault(tokens[:n], []).append((column, token))
    for i, end in enumerate(ends):
        columns, tokens = zip(*through[end.beginning], strict=True)
        place = [end.following.index(token) for token in tokens]
        total = found.totals[i][:, None] if found.totals else 0.0
        logits[end.question][:, list(columns)] += found.logits[i][:, place] - total


def _around(prompts: Sequence[Sequence[int]], text: str) -> PromptTemplate:
    """Return the tokens that all prompts begin and end with: what is around the slot, whatever fills it."""
    before = _common([prompt[:-1] for prompt in prompts])
    after = _common([prompt[: len(before) : -1] for prompt in prompts])
    return PromptTemplate(before, after[::-1], text)


def _common(beginnings: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return what all of some lists begin with."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*beginnings, strict=False))
    return tuple(tokens[0] for tokens in alike)
