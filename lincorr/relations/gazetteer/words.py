"""Words and spellings of one thing, and pairs of the words of two."""

import unicodedata
from collections.abc import Iterable

Words = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]

_LETTERS = str.maketrans("łŁøØıđĐ’‘", "lLoOidD''")  # letters that Unicode does not decompose


def distinct(words: Iterable[str]) -> Words:
    """The words in order, each once; empty ones are left out."""
    return tuple(dict.fromkeys(word for word in words if word))


def spellings(names: Iterable[str]) -> Words:
    """The names, each followed by its spelling without accents, as English text has it."""

    def plain(name: str) -> str:
        if name.isascii():  # as most are, of tens of thousands
            return name
        letters = unicodedata.normalize("NFKD", name.translate(_LETTERS))
        return "".join(letter for letter in letters if not unicodedata.combining(letter))

    return distinct(spelling for name in names for spelling in (name, plain(name)))


def tidy(name: str) -> str:
    """Geonames' name without surrounding blanks and the article, which would pass for its first word."""
    return name.strip().removeprefix("The ")


def all_pairs(left_and_right: Iterable[tuple[Words, Words]]) -> Pairs:
    """Every word on the left with every word on the right, no pair twice."""
    found = ((a, b) for left, right in left_and_right for a in left for b in right)
    return tuple(dict.fromkeys(found))
