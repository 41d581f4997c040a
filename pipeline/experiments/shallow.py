"""Does a network that knows the vocabulary only, and no language, generalise as the model does?

Subjects are given one of three source answers each. A bag-of-words network (`lincorr.model.shallow`) learns
the source prompts of all of them, and the target prompts of some; do the target answers of the others follow?
That is asked of the true mapping, of the same targets permuted, and of the words' initials in their place.
"""

import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.model.device import visible_gpus
from lincorr.model.files import ModelSpec, float32_bytes, locate
from lincorr.model.fingerprint import Fingerprint, fingerprint_of
from lincorr.model.load import load_tokenizer, shared_model
from lincorr.prompts.columns import answer_columns
from lincorr.prompts.subjects import vocabulary_subjects
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import prompt_ids, prompt_template
from lincorr.relations.paper import reported
from lincorr.scores.experiments import MappingScores, RunShares, ShallowResults
from lincorr.scores.moments import deviation
from pipeline.extract.shard import require_model
from pipeline.prepare.prepare import prepare_relations
from pipeline.prepare.relations import RelationInputs
from pipeline.run import Run
from pipeline.runtime.executor import Stage

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel

Kind = Literal["true", "permuted", "letters"]

# The words of the paper (T7). Its targets of +1 -> +2 are printed as 3, 4, 5, but 2, 3, 4 are right.
_WORDS = {
    "city-country": (("Shanghai", "Tokyo", "Paris"), ("China", "Japan", "France")),
    "country-continent": (("China", "France", "Canada"), ("Asia", "Europe", "North America")),
    "ceo-company": (("Elon", "Andy", "Tim"), ("Tesla", "Amazon", "Apple")),
    "plus-1-plus-2": (("1", "2", "3"), ("2", "3", "4")),
}
_PAPER: dict[Kind, str] = {
    "true": "shallow generalisation",
    "permuted": "shallow generalisation when permuted",
    "letters": "shallow generalisation of letters",
}


@dataclass(frozen=True, slots=True)
class ShallowOptions:
    """Sizes and training; the paper gives only the number of held-out subjects, through its rates.

    Attributes:
        taught: subjects whose target prompts are trained.
        held_out: subjects whose target prompts are asked.
        runs: each with its own subjects, their answers and initial weights.
        seed: of the first run; later runs count up from it.
        width, rate, decay, steps: see `lincorr.model.shallow.ShallowRecipe`.
    """

    taught: int = 256
    held_out: int = 128
    runs: int = 5
    seed: int = 0
    width: int = 512
    rate: float = 3e-3
    decay: float = 0.1
    steps: int = 100


@dataclass(frozen=True, slots=True)
class Mapping:
    """Three source answers and what each is to lead to, as token ids."""

    relation: str
    kind: Kind
    sources: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShallowTask:
    """One mapping, all runs.

    Attributes:
        model: the model whose embeddings and head are used.
        fingerprint: digests that the worker's files of it must have.
        templates: texts of the source's and the target's.
        competing: token ids among which an answer must lead.
    """

    model: ModelSpec
    fingerprint: Fingerprint
    mapping: Mapping
    templates: tuple[str, str]
    competing: tuple[int, ...]
    options: ShallowOptions

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.mapping.relation}-{self.mapping.kind}"


@dataclass(frozen=True, slots=True)
class Generalised:
    """What one run shows.

    Attributes:
        learnt: share of the trained prompts that are answered right.
        success: share of the held-out subjects whose target answer follows, among all that compete, and
        of_three: among the mapping's targets.
    """

    learnt: float
    success: float
    of_three: float


def shallow(run: Run, options: ShallowOptions) -> ShallowResults:
    """Train and ask networks for every relation of a run; return their scores.

    Relations that are not asked for by name, as in `all`, are left out where they have no three pairs.

    Raises:
        BadInput: a relation has no three pairs to map, or the vocabulary has too few subjects.
    """
    config = run.config.model_copy(update={"wordings": "paper"})  # they learn answers, not wordings
    relations, texts = prepare_relations(config)
    spec = replace(config.model_spec(), dtype="float32")
    folder = locate(spec)
    tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    letters = letter_columns(tokenizer)
    digests = fingerprint_of(spec, tokenizer)
    tasks = [
        ShallowTask(spec, digests, mapping, _templates(inputs), _competing(inputs, letters), options)
        for inputs in relations
        if inputs.name in config.relations or _words(inputs) is not None
        for mapping in mappings(inputs, texts, letters)
    ]
    if not tasks:
        raise BadInput("relations: none of them has three sources with different right targets")
    _require_subjects(tokenizer, tasks)
    with (
        run.executor(float32_bytes(folder), visible_gpus(spec.device), keep_memory=True) as executor,
        run.narrator.progress("Training", options.runs * len(tasks), "networks") as advance,
    ):
        found = executor.run(
            Stage("shallow", train_and_ask, tasks, on_device=True), lambda runs: advance(len(runs))
        )
    scores = tuple(_scores(task, runs, texts) for task, runs in zip(tasks, found, strict=True))
    return ShallowResults(spec.described, asdict(options), scores)


def _require_subjects(tokenizer: Tokenizer, tasks: Sequence[ShallowTask]) -> None:
    """Refuse more subjects than the vocabulary has, before any worker starts."""
    task = max(tasks, key=lambda task: len(task.competing))
    try:
        draw(tokenizer, task, task.options.seed)
    except BadInput as problem:
        raise BadInput(
            f"--taught: {task.options.taught:,} subjects, and {task.options.held_out:,} held out beside the "
            f"{len(task.competing):,} answers, are more than the vocabulary has; give fewer"
        ) from problem


def letter_columns(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the token of every capital letter that is one."""
    return answer_columns(tokenizer, tuple(string.ascii_uppercase), "letters").whole_name_ids()


def mappings(inputs: RelationInputs, texts: Sequence[str], letters: dict[str, int]) -> list[Mapping]:
    """Return the true mapping of a relation, the permuted one, and that of initials where they differ.

    The words are the paper's where it has this relation, and where each is a token; else the first three
    sources whose right targets differ.

    Raises:
        BadInput: there are no three.
    """
    words = _words(inputs)
    if words is None:
        raise BadInput(
            f"relation {inputs.name!r}: fewer than three sources with different right targets are known in "
            "this model's tokens; give it more truth, or leave it out of relations"
        )
    sources, targets = words
    found = [
        Mapping(inputs.name, "true", sources, targets),
        Mapping(inputs.name, "permuted", sources, (*targets[1:], targets[0])),
    ]
    initials = [
        tuple(letters.get(texts[token].strip()[:1].upper(), -1) for token in side)
        for side in (sources, targets)
    ]
    if all(len(set(side)) == len(side) and -1 not in side for side in initials):
        found.append(Mapping(inputs.name, "letters", *initials))
    return found


def _words(inputs: RelationInputs) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the tokens of three source answers and of a right target of each; None without."""
    names, words = (inputs.source.whole_name_ids(), _by_first_name(inputs)), _WORDS.get(inputs.name)
    if words and all(word in known for side, known in zip(words, names, strict=True) for word in side):
        return tuple(names[0][word] for word in words[0]), tuple(names[1][word] for word in words[1])
    pairs: dict[int, int] = {}
    for source, rights in inputs.truth.items():
        new = [target for target in rights if target not in pairs.values() and target != source]
        if new:
            pairs[source] = new[0]
        if len(pairs) == 3:
            return tuple(pairs), tuple(pairs.values())
    return None


def _by_first_name(inputs: RelationInputs) -> dict[str, int]:
    """Return the token of every target: also of "North America", which the paper has as North."""
    return dict(zip(inputs.target.names, inputs.target.ids.tolist(), strict=True))


def _templates(inputs: RelationInputs) -> tuple[str, str]:
    return inputs.relation.source.template.text, inputs.relation.target.template.text


def _competing(inputs: RelationInputs, letters: dict[str, int]) -> tuple[int, ...]:
    """Return the answers of both sides, and letters: the same for every mapping of a relation."""
    tokens = [*inputs.source.ids.tolist(), *inputs.target.ids.tolist(), *letters.values()]
    return tuple(dict.fromkeys(tokens))


def train_and_ask(task: ShallowTask) -> list[Generalised]:
    """Train networks of their own seeds, and ask each for what follows.

    Raises:
        LincorrError: this worker's files of the model are not those that the run was planned with.
    """
    require_model(task.model, task.fingerprint)
    model = shared_model(task.model)
    return [_run(task, model, task.options.seed + run) for run in range(task.options.runs)]


def _run(task: ShallowTask, model: "LanguageModel", seed: int) -> Generalised:
    from lincorr.model.shallow import ShallowRecipe, Vocabulary, train_shallow

    options, mapping = task.options, task.mapping
    subjects, given = draw(model.tokenizer, task, seed)
    sources, targets = (
        prompt_ids(model.tokenizer, prompt_template(model.tokenizer, text), subjects, [""] * len(subjects))
        for text in task.templates
    )
    vocabulary = Vocabulary.of(model, np.array(task.competing))
    prompts = sources + targets[: options.taught]
    answers = [mapping.sources[i] for i in given] + [mapping.targets[i] for i in given[: options.taught]]
    recipe = ShallowRecipe(options.width, options.rate, options.decay, options.steps)
    network = train_shallow(vocabulary, prompts, answers, recipe, seed=seed)
    right = np.array([mapping.targets[i] for i in given[options.taught :]])
    logits = network.logits(targets[options.taught :])
    return Generalised(
        learnt=_agreement(network.logits(prompts), task.competing, np.array(answers)),
        success=_agreement(logits, task.competing, right),
        of_three=_agreement(
            logits[:, [task.competing.index(token) for token in mapping.targets]], mapping.targets, right
        ),
    )


def draw(tokenizer: Tokenizer, task: ShallowTask, seed: int) -> tuple[list[int], list[int]]:
    """Return subjects (token ids), none of which competes, and which of the three answers each is given.

    The first `ShallowOptions.taught` are taught the target, too. Every answer is given about equally often
    on either side.
    """
    wanted = task.options.taught + task.options.held_out
    drawn = vocabulary_subjects(tokenizer, wanted + len(task.competing), seed=seed).ids
    subjects = drawn[~np.isin(drawn, task.competing)][:wanted].tolist()
    rng = np.random.default_rng(seed)
    sides = [rng.permutation(np.arange(n) % 3) for n in (task.options.taught, task.options.held_out)]
    return subjects, np.concatenate(sides).tolist()


def _agreement(logits: NDArray[np.float32], tokens: Sequence[int], right: NDArray[np.int64]) -> float:
    return float(np.mean(np.array(tokens)[logits.argmax(axis=1)] == right))


def _scores(task: ShallowTask, runs: Sequence[Generalised], texts: Sequence[str]) -> MappingScores:
    mapping = task.mapping
    return MappingScores(
        relation=mapping.relation,
        mapping=mapping.kind,
        sources=tuple(texts[token].strip() for token in mapping.sources),
        targets=tuple(texts[token].strip() for token in mapping.targets),
        competing=len(task.competing),
        learnt=_shares([run.learnt for run in runs]),
        success=_shares([run.success for run in runs]),
        of_three=_shares([run.of_three for run in runs]),
        paper=reported(mapping.relation, _PAPER[mapping.kind]),
    )


def _shares(runs: Sequence[float]) -> RunShares:
    return RunShares(float(np.mean(runs)), deviation(np.array(runs)), tuple(runs))
