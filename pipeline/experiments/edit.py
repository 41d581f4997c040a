"""Teach a copy of the model new source facts, and see whether its target answers follow as W predicts.

The weights that change belong to a worker's own copy and are restored after every edit; only scores are
written.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.scores.experiments import EditResults, EditScores
from lincorr.scores.relation_scores import RelationScores
from lincorr.solvers.centred import centred
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.evaluate.experiments import cached_experiment, edit_name
from pipeline.evaluate.generalisation import across_relations
from pipeline.experiments.copies import (
    About,
    Copies,
    ask_copies,
    enough_memory,
    judged_relations,
    on_copy,
    open_maps,
    prompts_of,
    require_truth,
)
from pipeline.experiments.edit_scores import Outcome, edit_scores
from pipeline.fit.inputs import FitInputs, input_digest
from pipeline.prepare.relations import RelationInputs
from pipeline.run import Run
from pipeline.runtime.executor import Stage

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.editing import Editor
    from lincorr.model.language_model import LanguageModel

Floats = NDArray[np.floating]

_TASK_EDITS = 4
_UNRELATED = 4  # subjects that no edit is about
_READ = ("domain", "vocabulary-ridge", "domain-ridge")  # the paper's fit, and the one that reads best


@dataclass(frozen=True, slots=True)
class EditOptions:
    """How many facts are taught, and how (see `lincorr.model.editing.Recipe`).

    Attributes:
        edits: at most so many for each relation; each is another fact, drawn at random, about another
            held-out subject.
        seed: of the draw of facts and subjects.
    """

    edits: int = 32
    seed: int = 0
    rate: float = 1e-3
    steps: int = 20
    confidence: float = 0.9
    layers: int | None = None

    def on(self, model: "LanguageModel") -> "Editor":
        """Return an editor of a copy of the model."""
        from lincorr.model.editing import Editor, Recipe

        return Editor(model, Recipe(self.rate, self.steps, self.confidence, self.layers))


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
        columns: token ids of the source's and the target's answers.
        unrelated: rows of the store whose subjects no edit is about.
    """

    about: About
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    edits: tuple[Edit, ...]
    unrelated: tuple[int, ...]
    options: EditOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.about.relation}-{self.edits[0].row}"


def edit(run: Run, options: EditOptions) -> EditResults:
    """Teach a copy of the model new source facts where the store has no results; return what all edits show.

    Relations that are not asked for by name, as in `all`, are left out where no truth is known.

    Raises:
        BadInput: no edits can be made of a relation.
    """
    relations = judged_relations(run)
    require_editable(relations, len(run.split()[1]))
    ask = partial(edit_relation, options, run.inputs.token_texts)
    edited = ask_copies(run, "edit", "edits", options.edits, ask, relations)
    store = run.store()
    scores = [store.maps.load_scores(edits.relation, RelationScores) for edits in edited]
    return EditResults(tuple(edited), across_relations(edited, scores))


def require_editable(relations: Sequence[RelationInputs], n_held_out: int) -> None:
    """Refuse relations that cannot be edited.

    Raises:
        BadInput: no right target is known of any source, or too few subjects are held out.
    """
    require_truth(relations, "edit")
    if n_held_out <= _UNRELATED:
        raise BadInput(
            f"subjects.count: {n_held_out} subjects are held out, and edits need more than {_UNRELATED}; "
            "give more subjects"
        )


def edit_relation(
    options: EditOptions, token_texts: list[str], copies: Copies, inputs: FitInputs
) -> EditScores:
    """Make a relation's edits unless they are stored; return and store their scores (see `edit_scores`)."""
    store, relation = copies.store, inputs.relation
    tasks = edit_tasks(copies, inputs, options)

    def make() -> EditScores:
        stage = Stage(f"edit {relation.name}", edit_facts, tasks, on_device=True)
        done = copies.executor().run(stage, lambda outcomes: copies.advance(len(outcomes)))
        outcomes = [outcome for part in done for outcome in part]
        maps = {fit: centred(store.maps.load(relation.name, fit)) for fit in tasks[0].about.fits}
        return replace(edit_scores(relation, outcomes, maps, token_texts), options=asdict(options))

    depends_on = _depends_on(store, inputs, tasks)
    return cached_experiment(store, edit_name(relation.name), EditScores, depends_on, make)


def edit_tasks(copies: Copies, inputs: FitInputs, options: EditOptions) -> list[EditTask]:
    """Draw facts and held-out subjects, the same for the same seed, and cut them into tasks."""
    relation = inputs.relation
    about = About.of(copies, inputs, [fit for fit in _READ if fit in inputs.all_fits][:2])
    edits, unrelated = choose_edits(relation, inputs.test_rows, options)
    return [
        EditTask(
            about=about,
            columns=(tuple(relation.source.ids.tolist()), tuple(relation.target.ids.tolist())),
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
    pairs = zip(facts[: options.edits], subjects, strict=False)
    return [Edit(row, answer, relation.truth[answer]) for answer, row in pairs], tuple(unrelated)


def _depends_on(store: LogitStore, inputs: FitInputs, tasks: list[EditTask]) -> list[Any]:
    """Return all that the edits depend on: what the maps were made of, model, subjects, facts and recipe."""
    subjects = store.subjects(np.array([*tasks[0].unrelated, *(e.row for t in tasks for e in t.edits)]))
    return [
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        asdict(tasks[0].about.fingerprint),
        tasks[0].about.fits,
        asdict(tasks[0].options),
        tasks[0].columns,
        [asdict(edit) for task in tasks for edit in task.edits],
        subjects.identifiers(),
    ]


def edit_facts(task: EditTask) -> list[Outcome]:
    """Make some edits, one after the other, each from the original weights.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    store, maps = open_maps(task.about)
    with enough_memory():
        return _edit_facts(task, store, maps)


def _edit_facts(task: EditTask, store: LogitStore, maps: dict[str, LinearMap]) -> list[Outcome]:
    editor, tokenizer = on_copy(task.about.model, task.options)
    rows = [*(edit.row for edit in task.edits), *task.unrelated]
    subjects, sources, targets = prompts_of(task.about, store, tokenizer, rows)
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
    """Return how the target's logits moved, and how the movement of the source's logits times W says."""
    moved = now.astype(np.float64) - was
    return {
        "moved": moved[1, list(task.columns[1])].tolist(),
        "predicted": {name: predicted_movement(fitted, moved[0]).tolist() for name, fitted in maps.items()},
    }


def predicted_movement(fitted: LinearMap, moved: Floats) -> Floats:
    """Return how a map expects the target's logits (q,) to move: Wᵀ times the movement of its sources.

    Args:
        moved: (V,) how the logits of every token after the source prompt moved.
    """
    predicted: Floats = (fitted.predict(moved[None, fitted.source_ids]) - fitted.intercept)[0]
    return predicted


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
