"""The token columns that stand for a list of names, such as cities or countries."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.tokens import Tokenizer, encode
from lincorr.text import same_form

# Why a name has no column of its own.
SUBWORD = "its first word is not one token"
_SHARES = "shares its token with {!r}"


class NoColumns(BadInput):
    """No name of a list has a column in this model's vocabulary."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many names of a list a model's vocabulary can tell apart, and by what.

    Attributes:
        whole: names that are one token; only these are compared with the ground truth.
        phrase: names whose first word is one token, which stands for the name.
        subword: names whose first word is several tokens; they have no column.
    """

    whole: int
    phrase: int
    subword: int

    @property
    def answers(self) -> int:
        """Number of names."""
        return self.whole + self.phrase + self.subword

    def as_counts(self) -> dict[str, int]:
        """The three counts as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Columns:
    """The token columns that stand for a list of names.

    Attributes:
        ids: (q,) int64 distinct token ids, in the order of the names.
        texts: q surface texts of the tokens (" Tokyo"; "5" where no space precedes an answer).
        names: q names; of several that share a column, the first whole one, else the first.
        whole: q flags: whether the token is the whole name, not only its first word.
        dropped: name without a column of its own -> the reason.
    """

    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    whole: tuple[bool, ...]
    dropped: dict[str, str]

    def __len__(self) -> int:
        return len(self.texts)

    def whole_name_ids(self) -> dict[str, int]:
        """Map each name that is one token to its id; only these can be compared with a ground truth."""
        return {
            name: int(i) for name, i, whole in zip(self.names, self.ids, self.whole, strict=True) if whole
        }

    def coverage(self) -> Coverage:
        """Count the names by what their first word is in this vocabulary, also those that share a token."""
        whole, subword = sum(self.whole), sum(why == SUBWORD for why in self.dropped.values())
        return Coverage(whole, len(self) + len(self.dropped) - whole - subword, subword)


def answer_columns(tokenizer: Tokenizer, names: Sequence[str], setting: str, gap: str = " ") -> Columns:
    """Find the column of each name by the reference procedure's rule.

    A name has a column if its first token after the gap is its whole first word; the column is that token's
    id. Of several names with one token the first gives the column its name, unless a later one is whole.

    Args:
        setting: what the list is called in the configuration, for messages.
        gap: the text between prompt and answer, a space or nothing (see `Template.gap`).

    Raises:
        BadInput: the list is empty.
        NoColumns: no name has a column.
    """
    if not names:
        raise BadInput(f"{setting}: the list of answers is empty; give some names")
    columns = find_columns(tokenizer, names, gap)
    if not len(columns):
        raise NoColumns(
            f"{setting}: none of the {len(names)} answers (such as {names[0]!r}) begins with a word that is "
            "one token of this model's vocabulary; give other names"
        )
    return columns


def has_choice(source: int, target: int) -> bool:
    """Whether both sides have two columns at least; else a relation is fitted only if requested by name."""
    return min(source, target) >= 2


def find_columns(tokenizer: Tokenizer, names: Sequence[str], gap: str) -> Columns:
    """Find the columns as `answer_columns` does; there may be none."""
    # After a word, as answers come: some SentencePiece tokenizers give a leading space its own token.
    # Without a gap, after a line end, which tokenizers do not merge with the word that follows.
    before = "a" + gap if gap else "\n"
    anchor = encode(tokenizer, before.rstrip(" "))
    encoded = (
        tokenizer([before + name for name in names], add_special_tokens=False)["input_ids"] if names else []
    )
    chosen: dict[int, tuple[str, str, bool]] = {}
    dropped: dict[str, str] = {}
    for name, with_anchor in zip(names, encoded, strict=True):
        ids = with_anchor[len(anchor) :]
        words = name.split()
        text = tokenizer.decode(ids[:1])
        if not words or same_form(text.strip()) != same_form(words[0]):
            dropped[name] = SUBWORD
            continue
        whole = len(ids) == 1
        known = chosen.get(ids[0])
        if known is None or (whole and not known[2]):
            if known is not None:
                dropped[known[0]] = _SHARES.format(name)
            chosen[ids[0]] = (name, gap + words[0], whole)
        else:
            dropped[name] = _SHARES.format(known[0])
    found = list(chosen.values())
    return Columns(
        np.array(list(chosen), dtype=np.int64),
        tuple(text for _, text, _ in found),
        tuple(name for name, _, _ in found),
        tuple(whole for _, _, whole in found),
        dropped,
    )
