"""Copies of the model that take gradients, on the workers: what is asked of them is kept beside the maps.

A copy is in float32 and of the worker's own; nothing is written but scores.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint
from lincorr.model.load import load_model, release_model
from lincorr.prompts.subjects import Subjects
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import prompt_ids, prompt_template
from lincorr.readout import Readout
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.extract.shard import require_model
from pipeline.fit.inputs import FIT_NAMES, FitInputs

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel


_TRAINING_COPIES = 3  # weights, their originals, and gradients


Prompts = list[list[int]]


T_co = TypeVar("T_co", covariant=True)


_FITS = "maps"  # under which a document remembers the maps that it was made with


@dataclass(frozen=True, slots=True)
class About:
    """What tasks on a copy are about.

    Attributes:
        store: URL of the store.
        model: which model to copy.
        fingerprint: digests that the worker's files of it must have.
        relation: its name; its maps are in the store.
        templates: names of the source's and the target's.
        fits: names of the maps.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    relation: str
    templates: tuple[str, str]
    fits: tuple[str, ...]

    @classmethod
    def of(
        cls,
        store: LogitStore,
        inputs: FitInputs,
        model: ModelSpec,
        fingerprint: Fingerprint,
        fits: Sequence[str],
    ) -> "About":
        """Say what tasks on one relation are about."""
        templates = (inputs.source_template, inputs.target_template)
        return cls(store.url, model, fingerprint, inputs.relation.name, templates, tuple(fits))


class Options(Protocol[T_co]):
    """Frozen settings that know what is to be made of a copy of the model."""

    def __hash__(self) -> int: ...

    def on(self, model: "LanguageModel") -> T_co:
        """Return what asks the copy."""
        ...


# --- in the workers -----------------------------------------------------------------------------------


def open_maps(about: About) -> tuple[LogitStore, dict[str, LinearMap]]:
    """Return the store and the relation's maps.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    require_model(about.model, about.fingerprint)
    store, head = _opened(about.store, about.fingerprint)
    return store, {fit: store.maps.load(about.relation, fit, head=head) for fit in about.fits}


@functools.lru_cache(maxsize=1)
def _opened(url: str, fingerprint: Fingerprint) -> tuple[LogitStore, Readout | None]:
    """Open a store; its output head, which takes seconds to convert, serves all tasks."""
    store = LogitStore.open(url)
    return store, store.readout().as_float64() if store.identity.hidden else None


@functools.lru_cache(maxsize=1)
def on_copy(spec: ModelSpec, options: Options[T_co]) -> tuple[T_co, Tokenizer]:
    """Return what asks a copy of the model, and the tokenizer; one copy is held at a time."""
    release_model()  # extraction's own
    model = load_model(spec)
    return options.on(model), model.tokenizer


def prompts_of(
    about: About, store: LogitStore, tokenizer: Tokenizer, rows: Sequence[int]
) -> tuple[Subjects, Prompts, Prompts]:
    """Return the subjects in some rows of the store, and the token ids of their source and target prompts."""
    texts = {template.name: template.text for template in store.templates()}
    subjects = store.subjects(np.array(rows))
    source, target = (
        prompt_ids(tokenizer, prompt_template(tokenizer, texts[name]), subjects.ids.tolist(), subjects.texts)
        for name in about.templates
    )
    return subjects, source, target


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say in one line that a copy of the model does not fit.

    Raises:
        LincorrError: torch failed for want of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        from lincorr.model.language_model import out_of_memory

        if not isinstance(problem, MemoryError) and not out_of_memory(problem):
            raise
        raise LincorrError(
            "edit, gradients: the device has no memory for a float32 copy of the model and its gradients; "
            "edit fewer layers (--layers), use fewer workers (cluster.workers), or a larger device"
        ) from problem


# --- what is kept -------------------------------------------------------------------------------------


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


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Pearson's r of every row of a with every row of b, (len(a), len(b)); NaN of constant rows."""
    units = []
    for rows in (a, b):
        centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
        size = np.linalg.norm(centred, axis=1, keepdims=True)
        units.append(np.divide(centred, size, out=np.full_like(centred, np.nan), where=size > 0))
    found: NDArray[np.float64] = units[0] @ units[1].T
    return found
