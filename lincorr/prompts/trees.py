"""Templates and subjects -> token ids -> prompt trees -> batches of one shape. Pure.

The prompts of one subject under several templates often begin alike: "X lives in the" once, then "city of"
and "country of" as branches. Merged into a tree they are one forward pass, with a mask that lets a token
see its ancestors only, and explicit positions. What stands before X is the same for every subject: it is the
trunk that all trees of a run grow from, and is computed once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.subjects import STRING
from lincorr.prompts.tokens import Tokenizer, encode, leading_specials

# Attention costs the square of a tree's size: beyond this many tokens templates are asked in several trees.
_LARGEST_TREE = 128

# Free text comes in many tree shapes, and the last batch of each is filled up: smaller batches waste less.
_FREE_TEXT_SHARE = 4

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
        ends: k positions; where each prompt ends. None is in the trunk.
        trunk: token ids of the first positions, the same for every tree of a run; often none.
    """

    parents: tuple[int, ...]
    ends: tuple[int, ...]
    trunk: tuple[int, ...] = ()

    @property
    def own_tokens(self) -> int:
        """Tokens that every tree has for itself, after the trunk."""
        return len(self.parents) - len(self.trunk)

    @property
    def is_chain(self) -> bool:
        """Whether it is one plain prompt, for which a causal mask is right."""
        return not self.trunk and self.parents == tuple(range(-1, len(self.parents) - 1))

    @property
    def trunk_shape(self) -> "TreeShape":
        """The trunk as a tree of its own, without ends."""
        return TreeShape(self.parents[: len(self.trunk)], ())

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
    """The prompts of one subject, merged where they begin alike: their own tokens and their shape."""

    tokens: tuple[int, ...]
    shape: TreeShape


@dataclass(frozen=True, slots=True)
class Trunk:
    """What prompts begin with whatever their subject is, merged: tokens and their parents (-1: a root)."""

    tokens: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()


def trunk_of(templates: Sequence[PromptTemplate]) -> Trunk:
    """Merge what stands before the subject in every template."""
    tree = merge_prompts([template.before for template in templates])
    return Trunk(tree.tokens, tree.shape.parents)


def merge_prompts(prompts: Sequence[Sequence[int]], trunk: Trunk = Trunk()) -> PromptTree:
    """Merge the token ids of k prompts into a tree; following each end's parents gives a prompt back.

    Args:
        trunk: what trees grow from; a prompt that begins with a part of it has that part there. The last
            token of a prompt is always the tree's own: there its state is asked for.
    """
    tokens, parents = list(trunk.tokens), list(trunk.parents)
    ends: list[int] = []
    children = {pair: place for place, pair in enumerate(zip(parents, tokens, strict=True))}
    for prompt in prompts:
        place = -1
        for left, token in zip(range(len(prompt) - 1, -1, -1), prompt, strict=True):
            known = children.get((place, token))
            if known is None or (left == 0 and known < len(trunk.tokens)):
                known = children[place, token] = len(tokens)
                tokens.append(token)
                parents.append(place)
            place = known
        ends.append(place)
    own = tuple(tokens[len(trunk.tokens) :])
    return PromptTree(own, TreeShape(tuple(parents), tuple(ends), trunk.tokens))


def group_templates(templates: Mapping[str, PromptTemplate]) -> list[list[str]]:
    """Say which templates are asked in one tree: neighbours in token order, while the tree is small."""
    order = sorted(templates, key=lambda name: (templates[name].before, templates[name].after, name))
    groups: list[list[str]] = []
    for name in order:
        joined = [*(groups[-1] if groups else []), name]
        size = len(merge_prompts([templates[n].splice(-1) for n in joined]).tokens)
        if groups and size <= _LARGEST_TREE:
            groups[-1] = joined
        else:
            groups.append([name])
    return groups


@dataclass(frozen=True, slots=True)
class Batch:
    """Trees of one shape, for one forward pass.

    Attributes:
        shape: of every tree.
        rows: (k,) positions of the trees in the list that was cut up; k is at most the batch size.
        ids: (size, T) the trees' own token ids; rows from k on are filling.
    """

    shape: TreeShape
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]

    def halves(self) -> "tuple[Batch, Batch]":
        """Cut it in two, for a device that cannot hold it."""
        middle = len(self.ids) // 2
        return (
            Batch(self.shape, self.rows[:middle], self.ids[:middle]),
            Batch(self.shape, self.rows[middle:], self.ids[middle:]),
        )


def batch_rows(budget: int, own_tokens: int, *, free_text: bool = False) -> int:
    """Return how many trees of so many tokens a batch of about `budget` tokens has: a power of two."""
    rows = budget // (own_tokens * (_FREE_TEXT_SHARE if free_text else 1))
    return 1 << max(0, rows.bit_length() - 1)


def batches(
    trees: Sequence[PromptTree], budget: int, most: int, *, free_text: bool = False
) -> Iterator[Batch]:
    """Group trees of equal shape into batches of about `budget` tokens, without padding.

    A short batch is filled up with copies of its first tree: results may depend on the shape of a batch
    (bfloat16 on a GPU does), so every forward pass of one tree shape has one shape. Every position comes
    exactly once.

    Args:
        most: trees in a batch at most, however small they are.
        free_text: whether the trees are of many shapes.
    """
    by_shape: dict[TreeShape, list[int]] = defaultdict(list)
    for row, tree in enumerate(trees):
        by_shape[tree.shape].append(row)
    for shape, rows in by_shape.items():
        size = min(most, batch_rows(budget, shape.own_tokens, free_text=free_text))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            filled = part + [part[0]] * (size - len(part))
            ids = np.array([trees[row].tokens for row in filled], dtype=np.int64)
            yield Batch(shape, np.array(part), ids)
