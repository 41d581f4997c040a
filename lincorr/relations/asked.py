"""What a model is asked outright: a prompt about a source answer, which a target answers."""

import unicodedata
from collections.abc import Collection, Set
from dataclasses import dataclass

from lincorr.relations.relation import SLOT, Pairs, Relation, Template

SHOTS = 2
"""Examples before a prompt that has any."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with one slot for a source answer, and the examples that stand before it, often none.

    Attributes:
        asked: the prompt alone, "The city of {} is in the country of".
        examples: (source answer, target answer) pairs.
    """

    asked: str
    examples: Pairs = ()

    @property
    def text(self) -> str:
        """The whole prompt, with its slot: every example is a sentence in the words of the prompt."""
        gap = Template("", self.asked).gap
        told = (self.asked.replace(SLOT, source) + gap + target for source, target in self.examples)
        return "".join(sentence + _end(self.asked) for sentence in told) + self.asked


def _end(text: str) -> str:
    """What stands between two sentences in the script of a prompt's last letter."""
    last = text.removesuffix(SLOT).rstrip()[-1:]
    wide = last and unicodedata.east_asian_width(last) in "WF"
    return "。" if wide and not unicodedata.name(last, "").startswith("HANGUL") else ". "


def questions_of(
    relation: Relation, scored: Set[str], columns: Collection[str], answers: Collection[str]
) -> list[Question]:
    """Return what to ask: each prompt of a relation alone, and after two examples where there are two.

    A prompt whose answer would be set off otherwise than the relation's targets (see `Template.gap`) is left
    out: their tokens are others.

    Args:
        scored: the source answers with a known target, by which the model is judged, and
        columns: those that are asked about.
        answers: the target answers that can be told apart by their columns.
    """
    prompts = [text for text in relation.asked if Template("", text).gap == relation.target.template.gap]
    examples = _examples(relation, scored, columns, answers)
    after = [examples] if len(examples) == SHOTS and not scored <= {source for source, _ in examples} else []
    return [Question(text, shown) for shown in ((), *after) for text in prompts]


def _examples(
    relation: Relation, scored: Collection[str], columns: Collection[str], answers: Collection[str]
) -> Pairs:
    """Choose pairs of the truth with different targets, prominent sources first.

    Sources that are not asked about come before those that are asked about and not scored, and these before
    the scored ones, which are then not scored after these examples.
    """
    right: dict[str, str] = {}
    for source, target in relation.truth:
        if target in answers and SLOT not in source + target:
            right.setdefault(source, target)
    known = [source for source in relation.source.answers if source in right]
    known.sort(key=lambda source: (source in scored, source in columns))  # stable: prominent ones stay first
    chosen: dict[str, str] = {}
    for source in known:
        if right[source] not in chosen.values():
            chosen[source] = right[source]
    return tuple(chosen.items())[:SHOTS]
