"""Does W's direction do anything in the model? Turn the map round, and count the answers that flip.

After the *causality* of Hernandez et al. (arXiv 2308.09124). The subjects are sources with a known target
that the model answers right: France after "The country where Paris lives is". Another answer is wanted:
Japan. Of all changes of the source's state that move the predicted logits from France towards Japan by a
given amount,

    Δ = (E1ᵀE1)⁻¹ A (e_Japan - e_France) = core (e_Japan - e_France)

changes the source's logits least: A is the map between states, E1 the head, e its rows of the targets, and
``E1 Δ`` is a difference of W's columns. The change is made twice. *Read-out*: of the source's state, which is
then read out: is the answer a source of Japan? *Model*: in the forward pass of the target's prompt, at its
last token after some layer: is the answer Japan?

A vector at the last token may reach the answer by being read out, whatever the layers above do. So a further
change, ``map-hidden``, is Δ without all that the targets' head rows see of it.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.trees import prompt_template
from lincorr.readout import Readout
from lincorr.scores.experiments import Flips, FlipScores
from lincorr.solvers.result import HiddenMap
from lincorr.store.store import LogitStore
from pipeline.evaluate.experiments import cached_experiment, flips_name
from pipeline.experiments.copies import (
    About,
    Copies,
    ask_copies,
    enough_memory,
    judged_relations,
    on_copy,
    open_maps,
    require_truth,
)
from pipeline.fit.inputs import FitInputs, input_digest
from pipeline.run import Run
from pipeline.runtime.executor import Stage

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel
    from lincorr.model.patching import Patcher

Floats = NDArray[np.floating]
Ids = NDArray[np.int64]

FIT = "vocabulary-ridge"
CHANGES = ("map", "map-hidden", "other", "random", "direct", "subject")
"""Δ; Δ that the read-out does not see; Δ of a third answer; a random direction; the difference of the head's
rows themselves; and, at the subject's token, the state of a subject that has the wanted answer. The second
is left out where the read-out sees all of Δ."""

NORMS = (0.5, 1.0, 2.0)
"""Of changes that are read out, in units of the state's distance from the mean state."""

DEPTHS = (1 / 3, 1 / 2, 2 / 3, 5 / 6)
"""The layers after which the model is changed, as parts of all; the change is as long as the stream there."""


_NOTHING = 1e-9  # below this share of the largest, a singular value is rounding, as is so little of a change


@dataclass(frozen=True, slots=True)
class FlipOptions:
    """How many subjects are changed at most, and the seed of their choice."""

    subjects: int = 32
    seed: int = 0

    def on(self, model: "LanguageModel") -> "Patcher":
        """Return what changes a copy of the model."""
        from lincorr.model.patching import Patcher

        return Patcher(model)


@dataclass(frozen=True, slots=True)
class FlipTask:
    """The flips of one relation.

    Attributes:
        columns: token ids of the source's and the target's answers.
        truth: source token -> right target tokens.
    """

    about: About
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    truth: dict[int, tuple[int, ...]]
    options: FlipOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return self.about.relation


@dataclass(frozen=True, slots=True)
class Cases:
    """Subjects and the answers that are wanted of them; all are positions.

    Attributes:
        subjects, donors: (n,) among the known sources; a donor has the wanted answer.
        own, wanted, third: (n,) target columns.
    """

    subjects: Ids
    donors: Ids
    own: Ids
    wanted: Ids
    third: Ids


def flips(run: Run, options: FlipOptions) -> list[FlipScores]:
    """Change states and count flips where the store has no results; return all scores.

    Relations that are not asked for by name, as in `all`, are left out where no truth is known.

    Raises:
        BadInput: a relation has no known pair, or no map through hidden states.
    """
    relations = judged_relations(run)
    require_truth(relations, "flip")
    return ask_copies(run, "flips", "relations", 1, partial(flips_of, options), relations)


def flips_of(options: FlipOptions, copies: Copies, inputs: FitInputs) -> FlipScores:
    """Count a relation's flips unless that is stored; return and store the scores."""
    store, relation = copies.store, inputs.relation
    if FIT not in inputs.all_fits or inputs.choices["vocabulary"].method != "factored":
        raise BadInput(
            f"relation {relation.name!r}: flips need a map of the full vocabulary through hidden states "
            f"({FIT}); set store.hidden to true and fit.method to auto"
        )
    columns = (tuple(relation.source.ids.tolist()), tuple(relation.target.ids.tolist()))
    task = FlipTask(About.of(copies, inputs, [FIT]), columns, dict(relation.truth), options)
    depends_on = [
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        asdict(copies.fingerprint),
        [columns, list(relation.truth.items()), task.about.templates, asdict(options)],
        [CHANGES, NORMS, DEPTHS, _NOTHING],
    ]

    def make() -> FlipScores:
        stage = Stage(f"flips {relation.name}", count_flips, [task], on_device=True)
        [found] = copies.executor().run(stage, lambda _: copies.advance(1))
        return found

    return cached_experiment(store, flips_name(relation.name), FlipScores, depends_on, make)


# --- in the workers -----------------------------------------------------------------------------------


def count_flips(task: FlipTask) -> FlipScores:
    """Count the flips of one relation.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    store, maps = open_maps(task.about)
    hidden = maps[FIT].hidden
    assert hidden is not None
    with enough_memory():
        return _count_flips(task, store, hidden)


def _count_flips(task: FlipTask, store: LogitStore, hidden: HiddenMap) -> FlipScores:
    patcher, tokenizer = on_copy(task.about.model, task.options)
    texts = {template.name: template.text for template in store.templates()}
    source, target = (prompt_template(tokenizer, texts[name]) for name in task.about.templates)
    tokens = list(task.truth)
    prompts = [np.array([one.splice(token) for token in tokens]) for one in (source, target)]
    states = [patcher.hidden(ids).astype(np.float64) for ids in prompts]
    heads = [store.readout().columns(np.array(ids)).as_float64() for ids in task.columns]
    own = heads[1].logits(states[1]).argmax(axis=1)
    predicted = heads[1].logits(states[0] @ hidden.weights + hidden.intercept).argmax(axis=1)
    right = np.array(
        [task.columns[1][answer] in task.truth[t] for t, answer in zip(tokens, own, strict=True)]
    )
    cases = choose_cases(own, right, task.options)
    directions = directions_of(hidden, heads[1], cases, task.options)
    layers: list[Flips] = []
    if len(cases.subjects):
        gain = final_gain(patcher, prompts[1], states[1])
        model = InModel(patcher, prompts[1], len(target.before), heads[1], gain)
        layers = [model.flips(layer, cases, directions) for layer in layers_of(patcher.depth)]
    return FlipScores(
        relation=task.about.relation,
        fit=FIT,
        known=len(tokens),
        right=float(right.mean()),
        faithful=float((own == predicted).mean()),
        subjects=len(cases.subjects),
        readout=_read_out(task, hidden, heads[0], states[0][cases.subjects], cases, directions),
        layers=tuple(layers),
        options=asdict(task.options),
        maps={},
    )


def choose_cases(own: Ids, right: NDArray[np.bool_], options: FlipOptions) -> Cases:
    """Draw subjects that are answered right, and for each of them two answers that others of them have.

    Args:
        own: (k,) the model's answers, target columns.
        right: (k,) whether they are right.

    Returns:
        The cases; none where fewer than three answers are right.
    """
    rng = np.random.default_rng(options.seed)
    known = np.flatnonzero(right)
    answers = np.unique(own[known])
    if len(answers) < 3:
        known = known[:0]
    rows = []
    for subject in rng.permutation(known)[: options.subjects]:
        wanted, third = rng.permutation(answers[answers != own[subject]])[:2]
        rows.append((subject, rng.choice(known[own[known] == wanted]), own[subject], wanted, third))
    return Cases(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


def directions_of(
    hidden: HiddenMap, target_head: Readout, cases: Cases, options: FlipOptions
) -> dict[str, Floats]:
    """Return the changes (n, d) of states by kind, of any length.

    There is no `map-hidden` where the read-out sees all of a change: as many answers as dimensions, and one
    more. What is left then is rounding, and would be made as long as the stream.

    Args:
        target_head: of the target columns.
    """
    rows = target_head.weight - target_head.weight.mean(axis=0)
    wanted = rows[cases.wanted] - rows[cases.own]
    change = wanted @ hidden.core.T
    _, values, seen = np.linalg.svd(rows, full_matrices=False)
    seen = seen[values > values[0] * _NOTHING]
    unseen = change - (change @ seen.T) @ seen
    length, left = (np.linalg.norm(rows, axis=1) for rows in (change, unseen))
    random = np.random.default_rng(options.seed).standard_normal(change.shape)
    return {
        "map": change,
        **({"map-hidden": unseen} if (left > length * _NOTHING).all() else {}),
        "other": (rows[cases.third] - rows[cases.own]) @ hidden.core.T,
        "random": random,
        "direct": wanted,
    }


def _read_out(
    task: FlipTask,
    hidden: HiddenMap,
    source_head: Readout,
    states: Floats,
    cases: Cases,
    directions: dict[str, Floats],
) -> tuple[Flips, ...]:
    """Count the source answers that become right sources of the wanted target."""
    sources, targets = task.columns
    is_right = np.array([[target in task.truth.get(s, ()) for target in targets] for s in sources])
    before = source_head.logits(states).argmax(axis=1)
    distance = np.linalg.norm(states - hidden.source_mean, axis=1)
    found = []
    for norm in NORMS if len(states) else ():
        answers = {
            kind: source_head.logits(states + _of_length(directions[kind], norm * distance)).argmax(axis=1)
            for kind in ("map", "other", "random")
        }
        found.append(
            Flips(
                at=norm,
                wanted={kind: _share(is_right[answer, cases.wanted]) for kind, answer in answers.items()},
                changed={kind: _share(answer != before) for kind, answer in answers.items()},
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class InModel:
    """The target's prompts in a model that is changed.

    Attributes:
        prompts: (k, T) token ids, of the known sources.
        subject: the position of the subject's token.
        head: of the target columns.
        gain: (d,) of the final norm, so that a change of the stream over it is one of the head's states.
    """

    patcher: "Patcher"
    prompts: Ids
    subject: int
    head: Readout
    gain: Floats

    def flips(self, layer: int, cases: Cases, directions: dict[str, Floats]) -> Flips:
        """Count the answers that become the wanted one with changes after a layer."""
        answers = {
            kind: self._answers(layer, cases, change, of_subject=kind == "subject")
            for kind, change in self._changes(layer, cases, directions).items()
        }
        return Flips(
            at=layer + 1,
            wanted={kind: _share(answer == cases.wanted) for kind, answer in answers.items()},
            changed={kind: _share(answer != cases.own) for kind, answer in answers.items()},
        )

    def _changes(self, layer: int, cases: Cases, directions: dict[str, Floats]) -> dict[str, Floats]:
        """Return what is added to the stream: as long as the stream itself, at the last token."""
        own, donors = (
            self.patcher.stream(self.prompts[rows], layer) for rows in (cases.subjects, cases.donors)
        )
        length = np.linalg.norm(own[:, -1], axis=1)
        changes = {
            kind: _of_length(change if kind == "random" else change / self.gain, length)
            for kind, change in directions.items()
        }
        return changes | {"subject": donors[:, self.subject] - own[:, self.subject]}

    def _answers(self, layer: int, cases: Cases, change: Floats, *, of_subject: bool) -> Ids:
        position = self.subject if of_subject else -1
        states = self.patcher.moved(self.prompts[cases.subjects], layer, position, change)
        answers: Ids = self.head.logits(states.astype(np.float64)).argmax(axis=1)
        return answers


def final_gain(patcher: "Patcher", prompts: Ids, states: Floats) -> Floats:
    """Return what the final norm multiplies each dimension (d,) of a stream by, up to a common factor.

    It is the slope of the states that enter the head on the stream of length one, whatever the architecture
    calls its norm.
    """
    stream = patcher.stream(prompts, patcher.depth - 1)[:, -1].astype(np.float64)
    unit = stream / np.linalg.norm(stream, axis=1, keepdims=True)
    x, y = unit - unit.mean(axis=0), states - states.mean(axis=0)
    slope: Floats = (x * y).sum(axis=0) / (x * x).sum(axis=0)
    return slope


def layers_of(depth: int) -> list[int]:
    """Return the layers, from 0, after which a model of so many is changed."""
    return sorted({max(1, round(part * depth)) - 1 for part in DEPTHS})


def _of_length(change: Floats, length: Floats) -> Floats:
    """Return rows (n, d) of given lengths (n,)."""
    scaled: Floats = change * (length / np.linalg.norm(change, axis=1))[:, None]
    return scaled


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean())
