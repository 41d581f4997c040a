"""What experiments found, cached beside the maps; it counts only for the maps that it was found with."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from lincorr.store.store import LogitStore
from pipeline.fit.inputs import FIT_NAMES

_FITS = "maps"  # the key under which a document remembers the maps that it was made with


def edit_name(relation: str) -> str:
    """Return the name under which a relation's edits are cached among the scores; no relation's own."""
    return f"{relation}--edit"


def gradients_name(relation: str) -> str:
    """Return the name under which a relation's gradient correlation is cached among the scores."""
    return f"{relation}--gradients"


def kept_or_made(
    store: LogitStore, relation: str, name: str, told: Any, make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what is kept under a name, made anew and kept where what it depends on is other than `told`.

    Args:
        told: JSON values.
    """
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    if store.maps.score_inputs(name) != digest:
        found = make()
        store.maps.save_scores(name, found | {_FITS: _map_digests(store, relation)}, digest)
    return store.maps.load_scores(name)


def kept(store: LogitStore, relations: Sequence[str], name: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return what is kept of relations, where it was made with the maps that the store has now."""
    found = []
    for relation in relations:
        if store.maps.score_inputs(name(relation)) is not None:
            document = store.maps.load_scores(name(relation))
            if document.get(_FITS) == _map_digests(store, relation):
                found.append(document)
    return found


def _map_digests(store: LogitStore, relation: str) -> dict[str, str]:
    return {fit: digest for fit in FIT_NAMES if (digest := store.maps.inputs(relation, fit)) is not None}


def kept_edits(store: LogitStore, relations: Sequence[str]) -> list[dict[str, Any]]:
    """Return what edits showed, of those relations that were edited, with the maps that the store has."""
    return kept(store, relations, edit_name)


def kept_gradients(store: LogitStore, relations: Sequence[str]) -> list[dict[str, Any]]:
    """Return the gradient correlations of those relations that have them, of the maps that the store has."""
    return kept(store, relations, gradients_name)
