"""Templates and subjects -> token ids, and rows of one length -> batches of one shape. Pure."""

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


def batches(
    prompts: Sequence[Sequence[int]], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Group prompts of equal length into batches of exactly `size` rows, without padding.

    A short batch is filled up with copies of its first prompt: results may depend on the shape of a
    batch (bfloat16 on a GPU does), so every forward pass of one length has one shape.

    Yields:
        (rows, ids): the prompts' positions, (k,) with k <= size, and their token ids, (size, length);
        rows of `ids` from k on are filling. Every position comes exactly once.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        by_length[len(prompt)].append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            filled = part + [part[0]] * (size - len(part))
            yield np.array(part), np.array([prompts[row] for row in filled], dtype=np.int64)
