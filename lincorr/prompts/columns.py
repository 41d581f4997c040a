"""Turn the names of a domain (cities, countries) into token columns."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.tokens import Tokenizer, encode

# Why a name has no column of its own.
SUBWORD = "its first word is not one token"
_SHARES = "shares its token with {!r}"


class NoColumns(BadInput):
    """None of a list's names has a column in this model's vocabulary."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many names of a list a model's vocabulary can tell, and how.

    Attributes:
        whole: the name is one token; only these are checked against the truth.
        phrase: its first word is one token, which stands for the name.
        subword: its first word is several tokens; it has no column.
    """

    whole: int
    phrase: int
    subword: int

    @property
    def answers(self) -> int:
        """Names in all."""
        return self.whole + self.phrase + self.subword

    def as_counts(self) -> dict[str, int]:
        """The three counts as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Columns:
    """The token columns that stand for a list of names.

    Attributes:
        ids: (q,) int64 distinct token ids, in the order of the names.
        texts: q surface texts of the tokens (" Tokyo"; "5" where no space stands before an answer).
        names: q names, the first one that each column stands for.
        whole: q flags: the token is the whole name, not only its first word.
        dropped: the names without a column of their own, and why.
    """

    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    whole: tuple[bool, ...]
    dropped: dict[str, str]

    def __len__(self) -> int:
        return len(self.texts)

    def whole_name_ids(self) -> dict[str, int]:
        """Map each name that is one token to its id; only these can be checked against a truth."""
        return {
            name: int(i) for name, i, whole in zip(self.names, self.ids, self.whole, strict=True) if whole
        }

    def coverage(self) -> Coverage:
        """Count the names by what their first word is in this vocabulary, those that share a token too."""
        whole, subword = sum(self.whole), sum(why == SUBWORD for why in self.dropped.values())
        return Coverage(whole, len(self) + len(self.dropped) - whole - subword, subword)


def answer_columns(tokenizer: Tokenizer, names: Sequence[str], setting: str, gap: str = " ") -> Columns:
    """Find the column of each name by the reference procedure's rule.

    A name counts if its first token behind the gap is its whole first word; its column is that token's
    id; of several names with one token the first gives the column its name, unless a later one is whole.

    Args:
        setting: what the list is called in the configuration, for the message.
        gap: what stands between prompt and answer, a space or nothing (see `Template.gap`).

    Raises:
        BadInput: the list is empty.
        NoColumns: no name has a column.
    """
    if not names:
        raise BadInput(f"{setting}: the list of answers is empty; give some names")
    columns = find_columns(tokenizer, names, gap)
    if not len(columns):
        raise NoColumns(
            f"{setting}: none of the {len(names)} answers begins with a word that is one token of this "
            f"model's vocabulary (such as {names[0]!r}); give other names"
        )
    return columns


# With fewer answers on a side there is nothing to choose.
_FEWEST = 2


def has_choice(source: int, target: int) -> bool:
    """Whether a relation of so many columns a side is worth fitting where nobody asked for it by name."""
    return min(source, target) >= _FEWEST


def find_columns(tokenizer: Tokenizer, names: Sequence[str], gap: str) -> Columns:
    """Find the columns as `answer_columns` does; there may be none."""
    # Behind a word, as answers come: some SentencePiece tokenizers give a leading space its own token.
    # Without a space, behind a line end, which tokenizers keep apart from the word that follows.
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
        if not words or text.strip() != words[0]:
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
