"""Templates and subjects -> token ids -> prompt trees -> batches of one shape. Pure.

The prompts of one subject under several templates often begin alike: "X lives in the" once, then "city of"
and "country of" as branches. Merged into a tree they are one forward pass, with a mask that lets a token
see its ancestors only, and explicit positions.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.subjects import STRING
from lincorr.tokens import Tokenizer, encode, leading_specials

# Words to find out how a template's text around the slot is tokenised; each common in most languages'
# vocabularies, and none that would merge with a following " lives" or "'s".
_PROBES = ("Paris", "one", "Anna", "the", "Tom", "A")


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A template in token ids: ``before + [subject] + after``.

    `before` begins with what the tokenizer's own rule puts in front (BOS, or nothing).
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    text: str

    def splice(self, token: int) -> list[int]:
        """Return the prompt with one token as its subject: every such prompt has one length."""
        return [*self.before, token, *self.after]


def prompt_template(tokenizer: Tokenizer, text: str) -> PromptTemplate:
    """Tokenise a template around its slot ``{}``.

    The ids on each side are those that the tokenizer gives around ordinary words. Whitespace before the
    slot is dropped: vocabulary tokens carry their own leading space, or mean to have none.

    Raises:
        BadInput: the tokenizer merges the text with whatever stands in the slot.
    """
    before_text, _, after_text = text.partition("{}")
    before = encode(tokenizer, before_text.rstrip()) if before_text.strip() else []
    for probe in _PROBES:
        start = encode(tokenizer, before_text + probe)
        whole = encode(tokenizer, before_text + probe + after_text)
        if whole[: len(start)] == start and (len(whole) > len(start) or not after_text):
            after = whole[len(start) :]
            return PromptTemplate((*leading_specials(tokenizer), *before), tuple(after), text)
    raise BadInput(
        f"template {text!r}: this model's tokenizer does not keep the text behind the slot apart from "
        "the word in it; put a space or a word behind {}"
    )


def prompt_ids(
    tokenizer: Tokenizer, template: PromptTemplate, ids: Sequence[int], texts: Sequence[str]
) -> list[list[int]]:
    """Return the prompts' token ids: spliced where the subject is a token, tokenised where a string."""
    specials = list(leading_specials(tokenizer))
    return [
        specials + encode(tokenizer, template.text.replace("{}", text))
        if token == STRING
        else template.splice(int(token))
        for token, text in zip(ids, texts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How the tokens of a prompt tree hang together.

    Attributes:
        parents: T positions; the parent of every token, -1 for a root. Parents come first.
        ends: k positions; where each prompt ends.
    """

    parents: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def is_chain(self) -> bool:
        """Whether it is one plain prompt, for which a causal mask is right."""
        return self.parents == tuple(range(-1, len(self.parents) - 1))

    def depths(self) -> NDArray[np.int64]:
        """Return the position (T,) of every token in its own prompt."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return np.array(depths, dtype=np.int64)

    def visible(self) -> NDArray[np.bool_]:
        """Return (T, T): whether a row's token sees a column's, that is, has it as ancestor or self."""
        seen = np.eye(len(self.parents), dtype=bool)
        for token, parent in enumerate(self.parents):
            if parent >= 0:
                seen[token] |= seen[parent]
        return seen


@dataclass(frozen=True, slots=True)
class PromptTree:
    """The prompts of one subject, merged where they begin alike: T tokens and their shape."""

    tokens: tuple[int, ...]
    shape: TreeShape


def merge_prompts(prompts: Sequence[Sequence[int]]) -> PromptTree:
    """Merge the token ids of k prompts into a tree; following each end's parents gives a prompt back."""
    tokens: list[int] = []
    parents: list[int] = []
    ends: list[int] = []
    children: dict[tuple[int, int], int] = {}  # (parent, token) -> position
    for prompt in prompts:
        place = -1
        for token in prompt:
            known = children.get((place, token))
            if known is None:
                known = children[place, token] = len(tokens)
                tokens.append(token)
                parents.append(place)
            place = known
        ends.append(place)
    return PromptTree(tuple(tokens), TreeShape(tuple(parents), tuple(ends)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Trees of one shape, for one forward pass.

    Attributes:
        shape: of every tree.
        rows: (k,) positions of the trees in the list that was cut up; k is at most the batch size.
        ids: (size, T) token ids; rows from k on are filling.
    """

    shape: TreeShape
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]


def batches(trees: Sequence[PromptTree], size: int) -> Iterator[Batch]:
    """Group trees of equal shape into batches of exactly `size`, without padding.

    A short batch is filled up with copies of its first tree: results may depend on the shape of a batch
    (bfloat16 on a GPU does), so every forward pass of one tree shape has one shape. Every position comes
    exactly once.
    """
    by_shape: dict[TreeShape, list[int]] = defaultdict(list)
    for row, tree in enumerate(trees):
        by_shape[tree.shape].append(row)
    for shape, rows in by_shape.items():
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            filled = part + [part[0]] * (size - len(part))
            ids = np.array([trees[row].tokens for row in filled], dtype=np.int64)
            yield Batch(shape, np.array(part), ids)
