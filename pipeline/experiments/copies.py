"""Copies of the model that take gradients, on the workers.

A copy is in float32, since small steps would be lost in half precision, and the worker's own; nothing is
written but scores.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError
from lincorr.model.device import visible_gpus
from lincorr.model.files import ModelSpec, float32_bytes
from lincorr.model.fingerprint import Fingerprint
from lincorr.model.load import load_model, release_model
from lincorr.prompts.subjects import Subjects
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import prompt_ids, prompt_template
from lincorr.readout import Readout
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.extract.shard import require_model
from pipeline.fit.inputs import FitInputs
from pipeline.prepare.relations import RelationInputs, is_named
from pipeline.run import Run
from pipeline.runtime.executor import Executor

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel


_MODEL_COPIES = 3  # weights, their originals, and gradients


Prompts = list[list[int]]


T_co = TypeVar("T_co", covariant=True)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class About:
    """The relation and the model that tasks on a copy are about.

    Attributes:
        store: URL of the store.
        model: the model to copy.
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
    def of(cls, copies: "Copies", inputs: FitInputs, fits: Sequence[str]) -> "About":
        """Say what tasks on one relation are about."""
        templates = (inputs.source_template, inputs.target_template)
        name = inputs.relation.name
        return cls(copies.store.url, copies.model, copies.fingerprint, name, templates, tuple(fits))


@dataclass(frozen=True, slots=True)
class Copies:
    """The workers' copies of a run's model, as an experiment asks them.

    Attributes:
        store: has the maps.
        model: the model to copy, in float32.
        fingerprint: digests that the workers' files of it must have.
        executor: opens one; not called where nothing is to be done.
        advance: called with the number of edits or subjects that were finished.
    """

    store: LogitStore
    model: ModelSpec
    fingerprint: Fingerprint
    executor: Callable[[], Executor]
    advance: Callable[[int], None]


class Options(Protocol[T_co]):
    """Frozen settings that know what is to be made of a copy of the model."""

    def __hash__(self) -> int: ...

    def on(self, model: "LanguageModel") -> T_co:
        """Return what asks the copy."""
        ...


def ask_copies(
    run: Run,
    stage: str,
    unit: str,
    per_relation: int,
    ask: Callable[[Copies, FitInputs], Found],
    relations: Sequence[RelationInputs],
) -> list[Found]:
    """Evaluate a run, then have `ask` test the maps of each relation on copies of its model.

    Args:
        stage, unit, per_relation: what the progress bar counts.
        ask: returns what it found of one relation.
        relations: of the run's; asked are those of them that are read (`Run.read`).
    """
    with run.writing(or_read=True):  # also between the two
        run.evaluate()
        store = run.store(write=True)
        spec = replace(run.config.model_spec(), dtype="float32")
        worker_bytes, gpus = _MODEL_COPIES * float32_bytes(run.inputs.folder), visible_gpus(spec.device)
        with (
            run.timed(stage),
            run.executor_on_demand(worker_bytes, gpus, keep_memory=True) as executor,
        ):
            read = {relation.name for relation in run.read(store)}
            chosen = list(run.fit_inputs(store, [one for one in relations if one.name in read]))
            with run.narrator.progress(stage.capitalize(), per_relation * len(chosen), unit) as advance:
                copies = Copies(store, spec, run.inputs.fingerprint, executor, advance)
                return [ask(copies, inputs) for inputs in chosen]


def judged_relations(run: Run) -> list[RelationInputs]:
    """Return the relations that can be judged by a truth, and those that are asked for by name."""
    return [one for one in run.inputs.relations if one.truth or is_named(run.config, one.name)]


def require_truth(relations: Sequence[RelationInputs], judged: str) -> None:
    """Refuse, with BadInput, relations without a known pair: nothing of what is `judged` can be judged."""
    if not relations:
        raise BadInput(
            f"relations: no right target is known of any of them, so that no {judged} can be judged"
        )
    for relation in relations:
        if not relation.truth:
            raise BadInput(
                f"relation {relation.name!r}: no right target is known, so that no {judged} can be judged; "
                "give it a truth, or leave it out of relations"
            )


# --- in the workers -----------------------------------------------------------------------------------


def open_maps(about: About) -> tuple[LogitStore, dict[str, LinearMap]]:
    """Return the store and the relation's maps.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    require_model(about.model, about.fingerprint)
    store = LogitStore.open(about.store)  # anew: it may have grown since the last task
    head = _head(about.store, about.fingerprint) if store.identity.hidden else None
    return store, {
        fit: store.maps.load(about.relation, fit, columns=head.columns if head else None)
        for fit in about.fits
    }


@functools.lru_cache(maxsize=1)
def _head(url: str, fingerprint: Fingerprint) -> Readout:
    """Return a store's output head, which takes seconds to convert: it serves all tasks."""
    return LogitStore.open(url).readout().as_float64()


@functools.lru_cache(maxsize=1)
def on_copy(spec: ModelSpec, options: Options[T_co]) -> tuple[T_co, Tokenizer]:
    """Return what asks a copy of the model, and the tokenizer; one copy is held at a time."""
    release_model()  # extraction's own,
    on_copy.cache_clear()  # and the copy before
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
    """Turn running out of memory into one line.

    Raises:
        LincorrError: torch ran out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        from lincorr.model.language_model import out_of_memory

        if not isinstance(problem, MemoryError) and not out_of_memory(problem):
            raise
        raise LincorrError(
            "edit, gradients, flips: the device has no memory for a float32 copy of the model and its "
            "gradients; edit fewer layers (--layers), use fewer workers (cluster.workers), or a larger device"
        ) from problem


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Pearson's r of every row of a with every row of b, (len(a), len(b)); NaN of constant rows."""
    units = []
    for rows in (a, b):
        centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
        size = np.linalg.norm(centred, axis=1, keepdims=True)
        units.append(np.divide(centred, size, out=np.full_like(centred, np.nan), where=size > 0))
    found: NDArray[np.float64] = units[0] @ units[1].T
    return found
