"""What a run asks its model outright, in the model's tokens."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lincorr.prompts.columns import Columns
from lincorr.relations.asked import Question, questions_of
from lincorr.relations.relation import SLOT, Relation, first_wording

TOGETHER = 3  # questions of a task: they share trees, and a relation's tasks keep two workers busy
_ASKED = 1  # raised when the same questions would get other answers: they are then asked again


@dataclass(frozen=True, slots=True)
class AskedInputs:
    """What a model is asked outright about a relation: its questions (k), each about every source (p).

    Attributes:
        name: of the stored answers: the relation's in its first wording, which its others share.
        questions: k.
        sources: p names, column by column, which fill the slot.
        targets: q answers in tokens. Of one token, its logit is the answer; where any is of several, it is
            the sum of their log-probabilities, one after the other.
        tokens: of all prompts, roughly; what stands before the source is the same for all, and not counted.
    """

    name: str
    questions: tuple[Question, ...]
    sources: tuple[str, ...]
    targets: tuple[tuple[int, ...], ...]
    tokens: int

    @property
    def sums(self) -> bool:
        """Whether answers are sums of log-probabilities."""
        return any(len(tokens) > 1 for tokens in self.targets)

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self.questions) * len(self.sources)

    @property
    def n_tasks(self) -> int:
        """Number of tasks of so many questions that share a tree."""
        return -(-len(self.questions) // TOGETHER)

    @property
    def n_trees(self) -> int:
        """Number of prompt trees, roughly: a task's questions, or one and its answers, about a source."""
        return len(self.sources) * (len(self.questions) if self.sums else self.n_tasks)

    @property
    def n_ends(self) -> int:
        """Number of places where answers are read: ends of prompts, and of beginnings of answers there."""
        return self.n_prompts * (1 + len(_beginnings(self.targets)))

    @property
    def answer_bytes(self) -> int:
        """Bytes of the answers, in float32."""
        return 4 * self.n_prompts * len(self.targets)

    @property
    def digest(self) -> str:
        """A digest of all that the answers of a store's model depend on."""
        depends_on = [_ASKED, [question.text for question in self.questions], self.sources, self.targets]
        return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()


def asked_inputs(
    relation: Relation,
    source: Columns,
    target: Columns,
    truth: Mapping[int, Sequence[int]],
    count: Callable[[str], int],
    most: int | None,
    *,
    multi_token: bool,
) -> AskedInputs | None:
    """Return what to ask about a relation; None where it has no such prompts, or no known pair.

    Args:
        truth: source token id -> right target token ids.
        count: tokens of a text.
        most: tokens of the longest prompt that the model has positions for; a longer one is not asked.
        multi_token: whether answers are all their tokens, or the first alone.
    """
    if not truth or not relation.asked:
        return None
    name_of = dict(zip(source.ids.tolist(), source.names, strict=True))
    longest = max(source.names, key=_length)
    middling = sorted(source.names, key=_length)[len(source) // 2]
    questions, tokens = [], 0
    scored, answers = {name_of[token] for token in truth}, set(target.counted_ids())
    for question in questions_of(relation, scored, set(source.names), answers):
        if most is None or count(question.text.replace(SLOT, longest)) <= most:
            questions.append(question)
            before, _, _ = question.asked.partition(SLOT)  # computed once, as are examples
            tokens += len(source) * (count(question.asked.replace(SLOT, middling)) - count(before.rstrip()))
    if not questions:
        return None
    targets = target.tokens if multi_token else tuple((token,) for token in target.ids.tolist())
    return AskedInputs(
        name=first_wording(relation.name),
        questions=tuple(questions),
        sources=source.names,
        targets=targets,
        tokens=tokens + len(questions) * len(source) * len(_beginnings(targets)),
    )


def _length(name: str) -> int:
    return len(name.encode())


def _beginnings(targets: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """What answers of several tokens begin with: each is a branch of a prompt."""
    return {tokens[:n] for tokens in targets for n in range(1, len(tokens))}


def own_names(asked: Mapping[str, AskedInputs | None]) -> dict[str, AskedInputs]:
    """Give a wording whose questions, sources or targets are not those of an earlier one a name of its own.

    Args:
        asked: relation -> what is asked about it, if anything.
    """
    shared: dict[str, AskedInputs] = {}
    return {
        relation: one if shared.setdefault(one.name, one) == one else replace(one, name=relation)
        for relation, one in asked.items()
        if one is not None
    }


def each_once(asked: Iterable[AskedInputs | None]) -> tuple[AskedInputs, ...]:
    """Return what is asked, once for all wordings that share it."""
    return tuple({one.name: one for one in asked if one is not None}.values())
