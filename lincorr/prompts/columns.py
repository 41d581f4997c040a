"""The token columns that stand for a list of names, such as cities or countries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.tokens import Tokenizer, encode, normalized
from lincorr.text import same_form

# Why a name has no column of its own.
SUBWORD = "its first word is not one token"
_AND_SHARES = ", and its first token begins another name, too"
_SHARES = "shares its token with {!r}"


class NoColumns(BadInput):
    """No name of a list has a column in this model's vocabulary."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many names of a list a model's vocabulary can tell apart, and by what.

    Attributes:
        whole: names that are one token.
        phrase: names whose first word is one token, which stands for the name.
        subword: names whose first word is several tokens; they have a column only if `multi_token` gives them
            one (see `answer_columns`).
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
        whole: q flags: whether the token is the whole name, not only its beginning.
        dropped: name without a column of its own -> the reason.
        tokens: q tuples: all token ids of each name after the gap, of which the first is its column.
        counted: q flags: whether the column is compared with the ground truth.
    """

    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    whole: tuple[bool, ...]
    dropped: dict[str, str]
    tokens: tuple[tuple[int, ...], ...] = ()
    counted: tuple[bool, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, flags: Sequence[bool]) -> "Columns":
        """Return the columns that are flagged."""
        return Columns(
            self.ids[np.array(flags, dtype=bool)],
            tuple(compress(self.texts, flags)),
            tuple(compress(self.names, flags)),
            tuple(compress(self.whole, flags)),
            self.dropped,
            tuple(compress(self.tokens, flags)),
            tuple(compress(self.counted, flags)),
        )

    def whole_name_ids(self) -> dict[str, int]:
        """Map each name that is one token to its id."""
        return self._ids_where(self.whole)

    def counted_ids(self) -> dict[str, int]:
        """Map each name that is compared with the ground truth to the id of its column."""
        return self._ids_where(self.counted)

    def longer_names(self) -> dict[int, str]:
        """Map each column that is compared with the ground truth, but is not the whole name, to the name.

        What stands before the token stands before the name: " Lah" is " Lahore".
        """
        columns = zip(self.ids.tolist(), self.texts, self.names, self.whole, self.counted, strict=True)
        return {
            token: text[: len(text) - len(text.lstrip())] + name
            for token, text, name, whole, counted in columns
            if counted and not whole
        }

    def _ids_where(self, flags: tuple[bool, ...]) -> dict[str, int]:
        named = zip(self.names, self.ids.tolist(), flags, strict=True)
        return {name: token for name, token, flag in named if flag}

    def coverage(self) -> Coverage:
        """Count the names by what their first word is in this vocabulary, also those that share a token."""
        whole, subword = sum(self.whole), sum(why.startswith(SUBWORD) for why in self.dropped.values())
        # a column's text is the first word where that is one token, else only its beginning
        texts = zip(self.texts, self.names, strict=True)
        subword += sum(not _is_word(text, _first_word(name)) for text, name in texts)
        return Coverage(whole, len(self) + len(self.dropped) - whole - subword, subword)


def answer_columns(
    tokenizer: Tokenizer,
    names: Sequence[str],
    setting: str,
    gap: str = " ",
    *,
    multi_token: bool = False,
) -> Columns:
    """Find the column of each name by the reference procedure's rule.

    A name has a column if its first token after the gap is its whole first word; the column is that token's
    id. What the tokenizer itself does not tell apart, such as capitals, does not matter to it. Of several
    names with one token the first gives the column its name, unless a later one is whole. The ground truth
    counts whole names.

    With `multi_token` it counts every name that alone begins with its first token, too; and one whose first
    word is several tokens then has that token as its column.

    Args:
        setting: what the list is called in the configuration, for messages.
        gap: the text between prompt and answer, a space or nothing (see `Template.gap`).

    Raises:
        BadInput: the list is empty.
        NoColumns: no name has a column.
    """
    if not names:
        raise BadInput(f"{setting}: the list of answers is empty; give some names")
    columns = find_columns(tokenizer, names, gap, multi_token=multi_token)
    if not len(columns):
        raise NoColumns(
            f"{setting}: none of the {len(names)} answers (such as {names[0]!r}) begins with a word that is "
            "one token of this model's vocabulary; give other names"
        )
    return columns


def has_choice(source: int, target: int) -> bool:
    """Whether both sides have two columns at least; else a relation is fitted only if requested by name."""
    return min(source, target) >= 2


@dataclass(frozen=True, slots=True)
class _Column:
    """One column that is found: its name, its text, all tokens of the name, and whether it is compared."""

    name: str
    text: str
    tokens: tuple[int, ...]
    counted: bool

    @property
    def whole(self) -> bool:
        return len(self.tokens) == 1


def find_columns(
    tokenizer: Tokenizer, names: Sequence[str], gap: str, *, multi_token: bool = False
) -> Columns:
    """Find the columns as `answer_columns` does; there may be none."""
    encoded = _encoded(tokenizer, names, gap)
    beginning_with = Counter(tokens[:1] for tokens in encoded.values())
    chosen: dict[int, _Column] = {}
    dropped: dict[str, str] = {}
    for name, tokens in encoded.items():
        text, word = tokenizer.decode(list(tokens[:1])), _first_word(name)
        is_word = _is_word(text, word) or _is_word(text, normalized(tokenizer, word).strip())
        alone = multi_token and beginning_with[tokens[:1]] == 1
        if not is_word and not (alone and text.strip()):
            dropped[name] = SUBWORD + (_AND_SHARES if multi_token and not alone else "")
            continue
        first = word if is_word else text.strip()
        found = _Column(name, gap + first, tokens, counted=alone or len(tokens) == 1)
        known = chosen.setdefault(tokens[0], found)
        if known is found:
            continue
        stays, leaves = (found, known) if found.whole and not known.whole else (known, found)
        chosen[tokens[0]] = stays
        dropped[leaves.name] = _SHARES.format(stays.name)
    columns = chosen.values()
    return Columns(
        np.array(list(chosen), dtype=np.int64),
        texts=tuple(column.text for column in columns),
        names=tuple(column.name for column in columns),
        whole=tuple(column.whole for column in columns),
        dropped=dropped,
        tokens=tuple(column.tokens for column in columns),
        counted=tuple(column.counted for column in columns),
    )


def _encoded(tokenizer: Tokenizer, names: Sequence[str], gap: str) -> dict[str, tuple[int, ...]]:
    """Return the tokens of each name as it follows a prompt and the gap."""
    if not names:
        return {}
    # After a word, as answers come: some SentencePiece tokenizers give a leading space its own token.
    # Without a gap, after a line end, which tokenizers do not merge with the word that follows.
    before = "a" + gap if gap else "\n"
    anchor = encode(tokenizer, before.rstrip(" "))
    encoded = tokenizer([before + name for name in names], add_special_tokens=False)["input_ids"]
    return {
        # alone, where a tokenizer of phrases has one token for both: "a little"
        name: tuple(ids[len(anchor) :] if ids[: len(anchor)] == anchor else encode(tokenizer, gap + name))
        for name, ids in zip(names, encoded, strict=True)
    }


def _is_word(text: str, word: str) -> bool:
    """Whether a token's text is the whole of a word."""
    return bool(word) and same_form(text.strip()) == same_form(word)


def _first_word(name: str) -> str:
    return next(iter(name.split()), "")
