"""Stored results of experiments; they are valid only for the maps that they were found with."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lincorr.errors import BadInput
from lincorr.scores.experiments import EditScores, FlipScores, GradientScores
from lincorr.store.cached import cached
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import FIT_NAMES

Scores = TypeVar("Scores", EditScores, FlipScores, GradientScores)


def edit_name(relation: str) -> str:
    """Return the name under which a relation's edits are stored among the scores; no relation's own."""
    return f"{relation}--edit"


def gradients_name(relation: str) -> str:
    """Return the name under which a relation's gradient correlation is stored among the scores."""
    return f"{relation}--gradients"


def flips_name(relation: str) -> str:
    """Return the name under which a relation's flips are stored among the scores; no relation's own."""
    return f"{relation}--flips"


def cached_experiment(
    store: LogitStore,
    name: str,
    kind: type[Scores],
    depends_on: Sequence[Any],
    compute: Callable[[], Scores],
) -> Scores:
    """Return the stored result of an experiment, computed first where it is missing (see `cached`).

    The result is stored with the digests of the relation's maps.
    """

    def with_maps() -> Scores:
        found = compute()
        return replace(found, maps=_map_digests(store, found.relation))

    return cached(store.maps, name, kind, depends_on, with_maps)


def stored_edits(store: LogitStore, relations: Sequence[str]) -> list[EditScores]:
    """Return the edits of those relations that were edited with the maps that the store has now."""
    return _stored(store, relations, edit_name, EditScores)


def stored_gradients(store: LogitStore, relations: Sequence[str]) -> list[GradientScores]:
    """Return the gradient correlations that were found with the maps that the store has now."""
    return _stored(store, relations, gradients_name, GradientScores)


def _stored(
    store: LogitStore, relations: Sequence[str], name: Callable[[str], str], kind: type[Scores]
) -> list[Scores]:
    found = []
    for relation in relations:
        try:
            scores = store.maps.load_scores(name(relation), kind)
        except BadInput:  # there is none, or an earlier version stored it
            continue
        if scores.maps == _map_digests(store, relation):
            found.append(scores)
    return found


def _map_digests(store: LogitStore, relation: str) -> dict[str, str]:
    return {fit: digest for fit in FIT_NAMES if (digest := store.maps.inputs(relation, fit)) is not None}
