"""Templates and subjects -> token ids -> prompt trees -> batches of one shape.

The prompts of one subject under several templates often begin alike: "X lives in the" once, then "city of"
and "country of" as branches. Merged into a tree they are one forward pass, with a mask that lets a token
see its ancestors only, and explicit positions. The text before X is the same for every subject: it is the
trunk from which all trees of a run grow, and is computed once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.subjects import STRING
from lincorr.prompts.tokens import Tokenizer, encode, leading_specials

# Attention is quadratic in a tree's size: templates with more tokens than this are split into several trees.
_LARGEST_TREE = 128

# Free text has many tree shapes, and the last batch of each is filled up: smaller batches waste less.
_FREE_TEXT_SHARE = 4

# Words to find out how a template's text around the slot is tokenised: common in most vocabularies, and not
# merged with a following " lives" or "'s".
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
        """Return the prompt with one token as its subject; all such prompts have the same length."""
        return [*self.before, token, *self.after]


def prompt_template(tokenizer: Tokenizer, text: str) -> PromptTemplate:
    """Tokenise a template around its slot ``{}``.

    The ids on each side are those that the tokenizer gives around ordinary words. Whitespace before the
    slot is dropped: vocabulary tokens have their own leading space, or none on purpose.

    Raises:
        BadInput: the tokenizer merges the text with any word in the slot.
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
        f"template {text!r}: this model's tokenizer does not keep the text after the slot apart from "
        "the word in it; put a space or a word after {}"
    )


def prompt_ids(
    tokenizer: Tokenizer, template: PromptTemplate, ids: Sequence[int], texts: Sequence[str]
) -> list[list[int]]:
    """Return the prompts' token ids: spliced if the subject is a token, tokenised if it is a string."""
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
        ends: k positions where the prompts end; not in the trunk.
        trunk: token ids of the first positions, the same for every tree of a run; often none.
    """

    parents: tuple[int, ...]
    ends: tuple[int, ...]
    trunk: tuple[int, ...] = ()

    @property
    def own_tokens(self) -> int:
        """Number of tokens of each tree after the trunk."""
        return len(self.parents) - len(self.trunk)

    @property
    def is_chain(self) -> bool:
        """Whether it is one plain prompt, for which the causal mask is right."""
        return not self.trunk and self.parents == tuple(range(-1, len(self.parents) - 1))

    @property
    def trunk_shape(self) -> "TreeShape":
        """The trunk as a tree of its own, without ends."""
        return TreeShape(self.parents[: len(self.trunk)], ())

    def prompts(self, ids: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the plain prompts of trees, end by end: k arrays (batch, length of that prompt).

        Args:
            ids: (batch, own tokens) token ids of the trees, without the trunk's.
        """
        trunk = np.broadcast_to(np.array(self.trunk, dtype=np.int64), (len(ids), len(self.trunk)))
        whole, seen = np.concatenate([trunk, ids], axis=1), self.visible()
        return [whole[:, seen[end]] for end in self.ends]

    def depths(self) -> NDArray[np.int64]:
        """Return the position (T,) of every token in its own prompt."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return np.array(depths, dtype=np.int64)

    def visible(self) -> NDArray[np.bool_]:
        """Return (T, T) booleans: whether a row's token sees a column's: it is itself or an ancestor."""
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
    """The merged beginnings of prompts before their subject: tokens and their parents (-1 for a root)."""

    tokens: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()


def trunk_of(templates: Sequence[PromptTemplate]) -> Trunk:
    """Merge what precedes the subject in the templates."""
    tree = merge_prompts([template.before for template in templates])
    return Trunk(tree.tokens, tree.shape.parents)


def merge_prompts(prompts: Sequence[Sequence[int]], trunk: Trunk = Trunk()) -> PromptTree:
    """Merge the token ids of k prompts into a tree; following each end's parents gives a prompt back.

    Args:
        trunk: what trees grow from; a prompt that begins with a part of it shares that part. The last
            token of a prompt is always the tree's own, since its state is needed.
    """
    tokens, parents = list(trunk.tokens), list(trunk.parents)
    ends: list[int] = []
    children = {pair: position for position, pair in enumerate(zip(parents, tokens, strict=True))}
    for prompt in prompts:
        position = -1
        for left, token in zip(range(len(prompt) - 1, -1, -1), prompt, strict=True):
            known = children.get((position, token))
            if known is None or (left == 0 and known < len(trunk.tokens)):
                known = children[position, token] = len(tokens)
                tokens.append(token)
                parents.append(position)
            position = known
        ends.append(position)
    own = tuple(tokens[len(trunk.tokens) :])
    return PromptTree(own, TreeShape(tuple(parents), tuple(ends), trunk.tokens))


def group_templates(templates: Mapping[str, PromptTemplate]) -> list[list[str]]:
    """Group templates that share a tree: neighbours in token order, while the tree is small."""
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
        rows: (k,) int64 positions of the trees in the whole list; k is at most the batch size.
        ids: (size, T) int64 the trees' own token ids; rows from k on are padding.
    """

    shape: TreeShape
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]

    def halves(self) -> "tuple[Batch, Batch]":
        """Split it in two, for a device that cannot hold it."""
        middle = len(self.ids) // 2
        return (
            Batch(self.shape, self.rows[:middle], self.ids[:middle]),
            Batch(self.shape, self.rows[middle:], self.ids[middle:]),
        )


def batch_rows(budget: int, own_tokens: int, *, free_text: bool = False) -> int:
    """Return the number of trees in a batch of about `budget` tokens: a power of two."""
    rows = budget // (own_tokens * (_FREE_TEXT_SHARE if free_text else 1))
    return 1 << max(0, rows.bit_length() - 1)


def batches(
    trees: Sequence[PromptTree], budget: int, most: int, *, free_text: bool = False
) -> Iterator[Batch]:
    """Group trees of equal shape into batches of about `budget` tokens, without padding.

    A short batch is filled up with copies of its first tree: results may depend on the shape of a batch
    (in bfloat16 on a GPU they do), so all forward passes of one tree shape have one shape. Every position
    occurs exactly once.

    Args:
        budget: tokens in a batch, about.
        most: trees in a batch at most, however small they are.
        free_text: whether the trees have many shapes.
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
