"""The gradient correlation: do the gradients of the logits follow W, as the logits do?

If ``logits₂ = logits₁ W + b`` holds for whatever the weights of the model are, then the gradient of a target
answer's logit is W's column of it times the gradients of the source logits. How the paper measured its "grad"
column (T4) is not known: the choice of subjects, answers and weights is ours.
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
from lincorr.metrics import finite_mean
from lincorr.models import Fingerprint, ModelSpec, load_model
from lincorr.paper import paper_figures
from lincorr.prompts import prompt_ids, prompt_template
from lincorr.store import LogitStore
from pipeline.executor import Executor, Stage
from pipeline.extract import require_model
from pipeline.fit import FIT_NAMES, FitInputs, input_digest

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.gradients import GradientProbe

Floats = NDArray[np.floating]

_GRADIENTS = 1  # raised when other things are found: kept results are then made again
GRADIENT = "gradient"  # its name among the paper's measures


@dataclass(frozen=True, slots=True)
class GradientOptions:
    """What is looked at.

    Attributes:
        subjects: held-out subjects.
        targets: answers of the target.
        entries: of the weights of the decoder's layers, drawn uniformly.
        seed: of all three draws.
    """

    subjects: int = 8
    targets: int = 8
    entries: int = 100_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GradientTask:
    """One subject of one relation.

    Attributes:
        store: URL of the store.
        model: which model.
        fingerprint: digests that the worker's files of it must have.
        relation: its name; its maps are in the store.
        templates: names of the source's and the target's.
        row: of the store, the subject.
        targets: token ids.
        fits: names of the maps.
    """

    store: str
    model: ModelSpec
    fingerprint: Fingerprint
    relation: str
    templates: tuple[str, str]
    row: int
    targets: tuple[int, ...]
    fits: tuple[str, ...]
    options: GradientOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.relation}-{self.row}"


@dataclass(frozen=True, slots=True)
class Correlations:
    """Of one subject, by fit.

    Attributes:
        same: (t,) Pearson r over the entries of each target's gradient with what W makes of the source's.
        other: mean r with what W makes of it for the other targets.
    """

    same: dict[str, list[float]]
    other: dict[str, float]


def gradients_name(relation: str) -> str:
    """Return the name under which a relation's gradient correlation is kept among the scores."""
    return f"{relation}--gradients"


def kept_gradients(store: LogitStore, relations: Sequence[str]) -> list[dict[str, Any]]:
    """Return the gradient correlations of those relations that have them."""
    names = (gradients_name(relation) for relation in relations)
    return [store.maps.load_scores(name) for name in names if store.maps.score_inputs(name) is not None]


def gradients_of(
    options: GradientOptions,
    store: LogitStore,
    inputs: FitInputs,
    model: ModelSpec,
    fingerprint: Fingerprint,
    executor: Callable[[], Executor],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Correlate a relation's gradients unless that is kept; return and keep the scores as JSON values.

    Args:
        executor: opens one; not called where nothing is to be done.
        advance: is told the number of subjects that are done.

    Raises:
        BadInput: fewer subjects are held out, or fewer than two answers, than asked for.
    """
    name = gradients_name(inputs.relation.name)
    tasks = gradient_tasks(store, inputs, options, model, fingerprint)
    told = [
        _GRADIENTS,
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        asdict(fingerprint),
        [[task.row, task.targets, task.fits] for task in tasks],
        store.subjects(np.array([task.row for task in tasks])).identifiers(),
        asdict(options),
    ]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    if store.maps.score_inputs(name) != digest:
        stage = Stage(f"gradients {inputs.relation.name}", correlate, tasks, on_device=True)
        found = executor().run(stage, lambda _: advance(1))
        store.maps.save_scores(name, gradient_scores(inputs.relation.name, found, options), digest)
    return store.maps.load_scores(name)


def gradient_tasks(
    store: LogitStore,
    inputs: FitInputs,
    options: GradientOptions,
    model: ModelSpec,
    fingerprint: Fingerprint,
) -> list[GradientTask]:
    """Draw subjects and answers, the same for the same seed; a task for each subject.

    Raises:
        BadInput: there are not enough.
    """
    targets = inputs.relation.target.ids
    if len(targets) < 2:
        raise BadInput(
            f"relation {inputs.relation.name!r}: it has one target answer; two are compared at least"
        )
    if options.subjects > len(inputs.test_rows):
        raise BadInput(
            f"--subjects: {options.subjects} are asked for and {len(inputs.test_rows)} are held out; ask for "
            "fewer, or extract more"
        )
    rng = np.random.default_rng(options.seed)
    rows = rng.choice(inputs.test_rows, size=options.subjects, replace=False)
    chosen = rng.choice(targets, size=min(options.targets, len(targets)), replace=False)
    fits = [fit for source in inputs.choices for fit in inputs.fit_names(source)]
    return [
        GradientTask(
            store=store.url,
            model=model,
            fingerprint=fingerprint,
            relation=inputs.relation.name,
            templates=(inputs.source_template, inputs.target_template),
            row=int(row),
            targets=tuple(chosen.tolist()),
            fits=tuple(fit for fit in FIT_NAMES if fit in fits),
            options=options,
        )
        for row in rows
    ]


def correlate(task: GradientTask) -> Correlations:
    """Correlate the gradients of one subject.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    require_model(task.model, task.fingerprint)
    store = LogitStore.open(task.store)
    head = store.readout().as_float64() if store.identity.hidden else None
    maps = {fit: store.maps.load(task.relation, fit, head=head) for fit in task.fits}
    probe, tokenizer = _probe(task.model, task.options)
    texts = {template.name: template.text for template in store.templates()}
    subject = store.subjects(np.array([task.row]))
    source, target = (
        prompt_ids(tokenizer, prompt_template(tokenizer, texts[name]), subject.ids.tolist(), subject.texts)[0]
        for name in task.templates
    )
    targets = np.array(task.targets)
    of_target = probe.gradients(target, targets, np.eye(len(targets)))
    same, other = {}, {}
    for name, fitted in maps.items():
        columns = fitted.block(fitted.source_ids.tolist(), targets.tolist())
        r = cross_pearson(of_target, probe.gradients(source, fitted.source_ids, columns))
        same[name] = np.diag(r).tolist()
        other[name] = finite_mean(r[~np.eye(len(r), dtype=bool)])
    return Correlations(same, other)


def cross_pearson(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Return Pearson's r of every row of a with every row of b, (len(a), len(b)); NaN of constant rows."""
    units = []
    for rows in (a, b):
        centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
        size = np.linalg.norm(centred, axis=1, keepdims=True)
        units.append(np.divide(centred, size, out=np.full_like(centred, np.nan), where=size > 0))
    found: NDArray[np.float64] = units[0] @ units[1].T
    return found


@functools.lru_cache(maxsize=1)
def _probe(spec: ModelSpec, options: GradientOptions) -> "tuple[GradientProbe, Any]":
    from lincorr.gradients import GradientProbe

    model = load_model(spec)
    return GradientProbe(model, options.entries, seed=options.seed), model.tokenizer


def gradient_scores(relation: str, found: Sequence[Correlations], options: GradientOptions) -> dict[str, Any]:
    """Gather what subjects show, as JSON values: r is the mean over targets of the mean over subjects."""
    fits = []
    for name in found[0].same:
        by_target = np.array([one.same[name] for one in found]).mean(axis=0)
        fits.append(
            {
                "name": name,
                "r": finite_mean(by_target),
                "r_std": float(np.std(by_target)),
                "r_other_target": finite_mean(np.array([one.other[name] for one in found])),
            }
        )
    reported = [figure.value for figure in paper_figures(relation) if figure.measure == GRADIENT]
    return {
        "relation": relation,
        "options": asdict(options),
        "targets": len(next(iter(found[0].same.values()))),
        "fits": fits,
        "paper": reported[0] if reported else None,
    }
