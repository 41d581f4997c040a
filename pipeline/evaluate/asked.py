"""What the model says when it is asked outright, read as the domain's block of W is."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lincorr.relations.asked import Question
from lincorr.scores.relation_scores import AskedScores
from lincorr.solvers.centred import centred_rows
from lincorr.store.store import LogitStore
from pipeline.evaluate.reading import hits_both_ways
from pipeline.fit.inputs import FitInputs
from pipeline.prepare.relations import RelationInputs


def asked_digest(store: LogitStore, inputs: FitInputs) -> list[str] | None:
    """Return what identifies the stored answers about a relation; None where there are none."""
    asked = inputs.relation.asked
    if asked is None or store.asked.inputs(asked.name) != asked.digest:
        return None
    return store.asked.digest(asked.name)


def asked_scores(store: LogitStore, inputs: FitInputs) -> tuple[AskedScores, ...] | None:
    """Score the stored answers about a relation, question by question; None where there are none.

    Raises:
        StoreDamaged: they are damaged.
    """
    asked = inputs.relation.asked
    if asked is None or asked_digest(store, inputs) is None:
        return None
    answers = store.asked.load(asked.name).astype(np.float64)
    return tuple(_scores(*pair, inputs.relation) for pair in zip(asked.questions, answers, strict=True))


def _scores(question: Question, answers: NDArray[np.float64], relation: RelationInputs) -> AskedScores:
    """Score the answers (p, q) to one question; the sources of its examples are left out."""
    told = {source for source, _ in question.examples}
    kept = [name not in told for name in relation.source.names]
    left, answers = _where(relation, kept), answers[kept]
    return AskedScores(
        asked=question.asked,
        examples=question.examples,
        hits=hits_both_ways(centred_rows(answers), left),
        calibrated=hits_both_ways(answers - answers.mean(axis=0), left).influenced_target,
    )


def _where(relation: RelationInputs, flags: list[bool]) -> RelationInputs:
    """Return the relation with the flagged sources alone."""
    source = relation.source.where(flags)
    known = set(source.ids.tolist())
    truth = {token: right for token, right in relation.truth.items() if token in known}
    return replace(relation, source=source, truth=truth)
