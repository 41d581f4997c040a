"""The gradient correlation: do the gradients of the logits follow W, as the logits do?

If ``logits₂ = logits₁ W + b`` holds for whatever the weights of the model are, then the gradient of a target
answer's logit is W's column of it times the gradients of the source logits. How the paper measured its "grad"
column (T4) is not known: the choice of subjects, answers and weights is ours.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.relations.paper import GRADIENT, reported
from lincorr.scores.experiments import GradientFit, GradientScores
from lincorr.scores.moments import deviation, finite_mean
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.evaluate.experiments import cached_experiment, gradients_name
from pipeline.experiments.copies import (
    About,
    Copies,
    ask_copies,
    enough_memory,
    on_copy,
    open_maps,
    pearson,
    prompts_of,
)
from pipeline.fit.inputs import FitInputs, input_digest
from pipeline.prepare.relations import RelationInputs
from pipeline.run import Run
from pipeline.runtime.executor import Stage

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.gradients import GradientProbe
    from lincorr.model.language_model import LanguageModel

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class GradientOptions:
    """How much is sampled.

    Attributes:
        subjects: number of held-out subjects.
        targets: number of target answers.
        entries: number of entries of the decoder layers' weights, drawn uniformly.
        seed: of all three draws.
    """

    subjects: int = 8
    targets: int = 8
    entries: int = 100_000
    seed: int = 0

    def on(self, model: "LanguageModel") -> "GradientProbe":
        """Return a probe of a copy of the model."""
        from lincorr.model.gradients import GradientProbe

        return GradientProbe(model, self.entries, seed=self.seed)


@dataclass(frozen=True, slots=True)
class GradientTask:
    """One subject of one relation.

    Attributes:
        row: of the store, the subject.
        targets: token ids.
    """

    about: About
    row: int
    targets: tuple[int, ...]
    options: GradientOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.about.relation}-{self.row}"


@dataclass(frozen=True, slots=True)
class Correlations:
    """Of one subject, by fit.

    Attributes:
        same: (t,) Pearson r over the entries of each target's gradient with what W makes of the source's.
        other: mean r with what W makes of it for the other targets.
    """

    same: dict[str, list[float]]
    other: dict[str, float]


def gradients(run: Run, options: GradientOptions) -> list[GradientScores]:
    """Correlate gradients with what W makes of them where the store has no results; return all scores.

    Raises:
        BadInput: fewer subjects are held out than asked for, or a relation has one target answer.
    """
    require_gradients(run.inputs.relations, options, len(run.split()[1]))
    ask = partial(gradients_of, options)
    return ask_copies(run, "gradients", "subjects", options.subjects, ask, run.inputs.relations)


def require_gradients(relations: Sequence[RelationInputs], options: GradientOptions, n_held_out: int) -> None:
    """Refuse relations whose gradients cannot be correlated.

    Raises:
        BadInput: fewer subjects are held out than asked for, or a relation has one target answer.
    """
    for relation in relations:
        if len(relation.target) < 2:
            raise BadInput(f"relation {relation.name!r}: it has one target answer, and two are compared")
    if options.subjects > n_held_out:
        raise BadInput(
            f"--subjects: {options.subjects} are asked for and {n_held_out} are held out; ask for fewer, or "
            "extract more"
        )


def gradients_of(options: GradientOptions, copies: Copies, inputs: FitInputs) -> GradientScores:
    """Correlate a relation's gradients unless that is stored; return and store the scores."""
    store, relation = copies.store, inputs.relation.name
    tasks = gradient_tasks(copies, inputs, options)
    depends_on = [
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        asdict(copies.fingerprint),
        [[task.row, task.targets, task.about.fits] for task in tasks],
        store.subjects(np.array([task.row for task in tasks])).identifiers(),
        asdict(options),
    ]

    def make() -> GradientScores:
        stage = Stage(f"gradients {relation}", correlate, tasks, on_device=True)
        return gradient_scores(relation, copies.executor().run(stage, lambda _: copies.advance(1)), options)

    return cached_experiment(store, gradients_name(relation), GradientScores, depends_on, make)


def gradient_tasks(copies: Copies, inputs: FitInputs, options: GradientOptions) -> list[GradientTask]:
    """Draw subjects and answers, the same for the same seed; a task for each subject."""
    targets = inputs.relation.target.ids
    rng = np.random.default_rng(options.seed)
    rows = rng.choice(inputs.test_rows, size=options.subjects, replace=False)
    chosen = rng.choice(targets, size=min(options.targets, len(targets)), replace=False)
    about = About.of(copies, inputs, inputs.all_fits)
    return [GradientTask(about, int(row), tuple(chosen.tolist()), options) for row in rows]


def correlate(task: GradientTask) -> Correlations:
    """Correlate the gradients of one subject.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    store, maps = open_maps(task.about)
    with enough_memory():
        return _correlate(task, store, maps)


def _correlate(task: GradientTask, store: LogitStore, maps: dict[str, LinearMap]) -> Correlations:
    probe, tokenizer = on_copy(task.about.model, task.options)
    _, (source,), (target,) = prompts_of(task.about, store, tokenizer, [task.row])
    targets = np.array(task.targets)
    of_target = probe.gradients(target, targets, np.eye(len(targets)))
    same, other = {}, {}
    for name, fitted in maps.items():
        columns = fitted.block(fitted.source_ids.tolist(), targets.tolist())
        r = pearson(of_target, probe.gradients(source, fitted.source_ids, columns))
        same[name] = np.diag(r).tolist()
        other[name] = finite_mean(r[~np.eye(len(r), dtype=bool)])
    return Correlations(same, other)


def gradient_scores(relation: str, found: Sequence[Correlations], options: GradientOptions) -> GradientScores:
    """Gather the correlations of subjects: r is the mean over targets of the mean over subjects."""
    fits = []
    for name in found[0].same:
        by_target = np.array([one.same[name] for one in found]).mean(axis=0)
        other = finite_mean(np.array([one.other[name] for one in found]))
        fits.append(GradientFit(name, finite_mean(by_target), deviation(by_target), other))
    return GradientScores(
        relation=relation,
        options=asdict(options),
        targets=len(next(iter(found[0].same.values()))),
        fits=tuple(fits),
        paper=reported(relation, GRADIENT),
        maps={},
    )
