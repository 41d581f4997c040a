"""Teach a copy of the model new source facts, and see whether its target answers follow as W says.

The weights that are changed are a worker's own copy, which goes back to its originals after every edit;
nothing is written but scores.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.models import Fingerprint, ModelSpec, load_model
from lincorr.prompts import prompt_ids, prompt_template
from lincorr.solvers.result import LinearMap
from lincorr.store import LogitStore
from pipeline.edit_scores import Outcome, edit_scores
from pipeline.executor import Executor, Stage
from pipeline.extract import require_model
from pipeline.fit import FitInputs, input_digest
from pipeline.generalisation import edit_name
from pipeline.prepare import RelationInputs

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.editing import Editor

Floats = NDArray[np.floating]

_EDITS = 1  # raised when an edit finds more or other things: kept results are then made again
_TASK_EDITS = 4
_UNRELATED = 4  # subjects that no edit is about
_READ = ("domain", "vocabulary-ridge", "domain-ridge")  # the paper's fit, and the one that reads best


@dataclass(frozen=True, slots=True)
class EditOptions:
    """How many facts are taught, and how (see `lincorr.editing.Recipe`).

    Attributes:
        edits: of one relation. Facts come in a random order, again from the first when all were taught;
            every edit has a held-out subject of its own while there are enough.
        seed: of that order and of the subjects.
    """

    edits: int = 32
    seed: int = 0
    rate: float = 1e-3
    steps: int = 20
    confidence: float = 0.9
    layers: int | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """One fact to be taught: a row of the store (the subject), a source answer, the targets that follow."""

    row: int
    answer: int
    right: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EditTask:
    """Some edits of one relation.

    Attributes:
        store: URL of the store.
        model: which model to copy.
        fingerprint: digests that the worker's files of it must have.
        relation: its name; its maps are in the store.
        templates: names of the source's and the target's.
        columns: token ids of the source's and the target's answers.
        fits: names of the maps that predict.
        unrelated: rows of the store whose subjects nothing is taught about.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    relation: str
    templates: tuple[str, str]
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    fits: tuple[str, ...]
    edits: tuple[Edit, ...]
    unrelated: tuple[int, ...]
    options: EditOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.relation}-{self.edits[0].row}"


def require_editable(relations: Sequence[RelationInputs], n_held_out: int) -> None:
    """Refuse what no edits can be made of.

    Raises:
        BadInput: no right target is known of any source, or too few subjects are held out.
    """
    if not relations:
        raise BadInput("relations: no right target is known of any of them, so that no edit can be judged")
    for relation in relations:
        if not relation.truth:
            raise BadInput(
                f"relation {relation.name!r}: no right target is known, so that no edit can be judged; give "
                "it a truth, or leave it out of relations"
            )
    if n_held_out <= _UNRELATED:
        raise BadInput(
            f"subjects.count: {n_held_out} subjects are held out, and edits need more than {_UNRELATED}; "
            "give more subjects"
        )


def edit_relation(
    options: EditOptions,
    token_texts: list[str],
    store: LogitStore,
    inputs: FitInputs,
    model: ModelSpec,
    fingerprint: Fingerprint,
    executor: Callable[[], Executor],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Make a relation's edits unless they are kept; return and keep what they show (see `edit_scores`).

    Args:
        executor: opens one; not called where nothing is to be done.
        advance: is told the number of edits that are done.
    """
    name = edit_name(inputs.relation.name)
    tasks = edit_tasks(store, inputs, options, model, fingerprint)
    digest = _digest(store, inputs, tasks)
    if store.maps.score_inputs(name) != digest:
        stage = Stage(f"edit {inputs.relation.name}", edit_facts, tasks, on_device=True)
        done = executor().run(stage, lambda outcomes: advance(len(outcomes)))
        outcomes = [outcome for part in done for outcome in part]
        maps = {fit: store.maps.load(inputs.relation.name, fit) for fit in tasks[0].fits}
        found = edit_scores(inputs.relation, outcomes, maps, token_texts)
        store.maps.save_scores(name, found | {"options": asdict(options)}, digest)
    return store.maps.load_scores(name)


def edit_tasks(
    store: LogitStore, inputs: FitInputs, options: EditOptions, model: ModelSpec, fingerprint: Fingerprint
) -> list[EditTask]:
    """Draw facts and held-out subjects, the same for the same seed, and cut them into tasks."""
    relation = inputs.relation
    fits = [fit for source in inputs.choices for fit in inputs.fit_names(source)]
    edits, unrelated = choose_edits(relation, inputs.test_rows, options)
    return [
        EditTask(
            store=store.url,
            model=model,
            fingerprint=fingerprint,
            relation=relation.name,
            templates=(inputs.source_template, inputs.target_template),
            columns=(tuple(relation.source.ids.tolist()), tuple(relation.target.ids.tolist())),
            fits=tuple(fit for fit in _READ if fit in fits)[:2],
            edits=tuple(edits[start : start + _TASK_EDITS]),
            unrelated=unrelated,
            options=options,
        )
        for start in range(0, len(edits), _TASK_EDITS)
    ]


def choose_edits(
    relation: RelationInputs, rows: NDArray[np.int64], options: EditOptions
) -> tuple[list[Edit], tuple[int, ...]]:
    """Return the edits, and the rows of subjects that none of them is about.

    Args:
        rows: of subjects that no map was fitted to.
    """
    rng = np.random.default_rng(options.seed)
    facts = rng.permutation(np.array(list(relation.truth))).tolist()
    drawn = rng.permutation(rows).tolist()
    unrelated, subjects = drawn[:_UNRELATED], drawn[_UNRELATED:]
    edits = []
    for i in range(options.edits):
        answer = facts[i % len(facts)]
        edits.append(Edit(subjects[i % len(subjects)], answer, relation.truth[answer]))
    return edits, tuple(unrelated)


def _digest(store: LogitStore, inputs: FitInputs, tasks: list[EditTask]) -> str:
    """Hash all that the edits depend on: what the maps were made of, model, subjects, facts and recipe."""
    subjects = store.subjects(np.array([*tasks[0].unrelated, *(e.row for t in tasks for e in t.edits)]))
    told = [
        _EDITS,
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        asdict(tasks[0].fingerprint),
        tasks[0].fits,
        asdict(tasks[0].options),
        tasks[0].columns,
        [asdict(edit) for task in tasks for edit in task.edits],
        subjects.identifiers(),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def edit_facts(task: EditTask) -> list[Outcome]:
    """Make some edits, one after the other, each from the original weights.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    require_model(task.model, task.fingerprint)
    store = LogitStore.open(task.store)
    maps = {fit: store.maps.load(task.relation, fit) for fit in task.fits}
    editor, tokenizer = _editor(task.model, task.options)
    texts = {template.name: template.text for template in store.templates()}
    compiled = [prompt_template(tokenizer, texts[name]) for name in task.templates]
    rows = [*(edit.row for edit in task.edits), *task.unrelated]
    subjects = store.subjects(np.array(rows))
    sources, targets = (prompt_ids(tokenizer, t, subjects.ids.tolist(), subjects.texts) for t in compiled)
    others = slice(len(task.edits), None)
    before = editor.logits(sources), editor.logits(targets)
    outcomes = []
    for i, edit in enumerate(task.edits):
        prompts = [sources[i], targets[i], *sources[others], *targets[others]]
        with editor.edited(tuple(sources[i]), edit.answer, task.columns[0]) as training:
            after = editor.logits(prompts)
        was = np.concatenate([before[0][[i]], before[1][[i]], before[0][others], before[1][others]])
        outcomes.append(
            Outcome(
                source=edit.answer,
                subject=subjects.texts[i],
                right=edit.right,
                steps=training.steps,
                **_answers(task, edit, was, after),
                **_movement(task, maps, was, after),
                **_unrelated(task, edit, was[2:], after[2:]),
            )
        )
    return outcomes


@functools.lru_cache(maxsize=1)
def _editor(spec: ModelSpec, options: EditOptions) -> "tuple[Editor, Any]":
    """Load a copy of the model of this process's own, whose weights may change."""
    from lincorr.editing import Editor, Recipe

    model = load_model(spec)
    return Editor(
        model, Recipe(options.rate, options.steps, options.confidence, options.layers)
    ), model.tokenizer


def _answers(task: EditTask, edit: Edit, was: Floats, now: Floats) -> dict[str, Any]:
    """Return whether the source prompt has the answer now, and what the target prompt has, and had."""
    sources, targets = (np.array(ids) for ids in task.columns)
    return {
        # a rate that is too large leaves no logits at all
        "took": bool(np.isfinite(now[0]).all()) and int(sources[now[0, sources].argmax()]) == edit.answer,
        "before": int(targets[was[1, targets].argmax()]),
        "after": int(targets[now[1, targets].argmax()]),
    }


def _movement(task: EditTask, maps: dict[str, LinearMap], was: Floats, now: Floats) -> dict[str, Any]:
    """Compare how the target's logits moved with the movement of the source's logits times W."""
    moved = now.astype(np.float64) - was
    target = moved[1, list(task.columns[1])]
    by_fit = {name: predicted_movement(fitted, moved[0]) for name, fitted in maps.items()}
    return {
        "moved": target.tolist(),
        "movement_r": {name: _pearson(predicted, target) for name, predicted in by_fit.items()},
    }


def predicted_movement(fitted: LinearMap, moved: Floats) -> Floats:
    """Return how a map expects the target's logits (q,) to move: Wᵀ times the movement of its sources.

    Args:
        moved: (V,) how the logits of every token after the source prompt moved.
    """
    predicted: Floats = (fitted.predict(moved[None, fitted.source_ids]) - fitted.intercept)[0]
    return predicted


def _pearson(a: Floats, b: Floats) -> float:
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _unrelated(task: EditTask, edit: Edit, was: Floats, now: Floats) -> dict[str, Any]:
    """Return what an edit did to subjects that it is not about: their source rows, then their target rows."""
    half = len(was) // 2
    sources, targets = (np.array(ids) for ids in task.columns)
    moved = now[half:, targets].astype(np.float64) - was[half:, targets]
    answers = (rows[half:, targets].argmax(axis=1) for rows in (was, now))
    return {
        "unrelated_moved": float(np.mean(moved.std(axis=1))),
        "unrelated_changed": float(np.mean(np.not_equal(*answers))),
        "unrelated_learnt": float(np.mean(sources[now[:half, sources].argmax(axis=1)] == edit.answer)),
    }
