"""A question -> the strongest links of its word."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError, in_one_line
from lincorr.solvers.result import Floats
from pipeline.explore.opened import NoToken, OpenedStore
from pipeline.explore.questions import MOST_LINKS, Answer, Found, Question, Refusal
from pipeline.explore.weights import ReadMap
from pipeline.prepare.relations import RelationInputs

Ids = NDArray[np.int64]


def answer(stores: Sequence[OpenedStore], question: Question) -> Answer | Refusal:
    """Answer a question, or say why it cannot be."""
    began = time.perf_counter()
    if not 0 <= question.store < len(stores):
        return Refusal(question, "there is no such store")
    store = stores[question.store]
    try:
        return _answer(store, question, began)
    except NoToken as problem:
        return Refusal(question, in_one_line(problem), tuple(store.suggest(question, 5)))
    except LincorrError as problem:
        return Refusal(question, in_one_line(problem))


def _answer(store: OpenedStore, question: Question, began: float) -> Answer:
    inputs = store.inputs(question.relation)
    read = store.read(question.relation, question.fit, question.root_penalty)
    token, note = store.find(question)
    ids, weights = _candidates(read, inputs, question, token, len(store.texts))
    right = _right(inputs.truth, token, target=question.target)
    order = np.argsort(-weights, kind="stable")

    def found(at: int, rank: int) -> Found:
        one = int(ids[at])
        return Found(one, store.texts[one], rank, float(weights[at]), one in right)

    ranked = np.flatnonzero(np.isin(ids[order], list(right))).tolist()
    most = max(0, min(question.top, MOST_LINKS))
    diagnosis = read.fitted.diagnosis
    no_path = store.paths.why_not(question.relation, question.fit)
    stored = store.read(question.relation, question.fit, None).fitted.diagnosis
    path = None if no_path else store.paths.path(stored)
    if path is None and no_path is None:
        no_path = "its penalty was given, not chosen along a path"
    return Answer(
        question=question,
        token=token,
        text=store.texts[token],
        note=note,
        of=len(ids),
        links=tuple(found(at, rank) for rank, at in enumerate(order[:most].tolist(), start=1)),
        right=tuple(found(int(order[place]), place + 1) for place in ranked),
        root_penalty=diagnosis.root_penalty,
        warning=diagnosis.warning(),
        path=path,
        no_path=no_path,
        seconds=time.perf_counter() - began,
    )


def _candidates(
    read: ReadMap, inputs: RelationInputs, question: Question, token: int, n_tokens: int
) -> tuple[Ids, Floats]:
    """Return the tokens at the other end, and their weights.

    Raises:
        BadInput: the map does not have the token, or not every token.
    """
    fitted, domain = read.fitted, question.fit.startswith("domain")
    if question.every and (domain if question.target else read.wide is None):
        others = "sources" if question.target else "targets"
        fit = "fit of the vocabulary" if domain else "store with hidden states"
        raise BadInput(f"every token: this map has no {others} but the answers; choose a {fit}")
    try:
        if not question.target:
            row = read.row(token, every=question.every, is_centred=question.centred)
            ids = np.arange(len(row)) if question.every else fitted.target_ids
            return ids[:n_tokens], row[:n_tokens]
        ids = fitted.source_ids[:n_tokens] if question.every else inputs.source.ids
        sources = None if question.every else ids.tolist()
        return ids, read.column(token, sources, is_centred=question.centred)[: len(ids)]
    except KeyError as problem:
        raise BadInput(str(problem.args[0])) from None


def _right(truth: Mapping[int, tuple[int, ...]], token: int, *, target: bool) -> set[int]:
    if not target:
        return set(truth.get(token, ()))
    return {source for source, targets in truth.items() if token in targets}
