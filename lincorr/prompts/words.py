"""Find the token that a user means, whatever its capitals, spaces, accents and typos."""

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler

from lincorr.text import same_form

_LETTERS_PER_TYPO = 4  # one typo in a word of four to seven letters, two in one of eight to eleven
_SIMILAR = 0.75  # Jaro-Winkler similarity below which a word is not suggested


@dataclass(frozen=True, slots=True)
class Match:
    """The text of a token that was found for a word.

    Attributes:
        text: the token's surface text.
        same: whether it is the word but for capitals, surrounding spaces and its Unicode form.
    """

    text: str
    same: bool


class WordIndex:
    """Texts of tokens, folded once for any number of words that are looked up in them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(dict.fromkeys(texts))

    def match(self, word: str) -> tuple[int, Match] | None:
        """Return a word's match (see `match_word`) and its rank, 0 for the best kind; None without one."""
        for rank, (fold, by_form) in enumerate(self._folded()):
            for place, form in enumerate((f" {word}", f" {word.strip()}", word, word.strip())):
                if (found := by_form.get(fold(form))) is not None:
                    return 4 * rank + place, Match(found, fold is not without_accents)
        return None

    def match_typo(self, word: str) -> Match | None:
        """Return the nearest text within a few typos (see `match_typo`)."""
        sought = _plain(word)
        most = len(sought) // _LETTERS_PER_TYPO
        found = process.extract(sought, self._choices, scorer=OSA.distance, score_cutoff=most, limit=2)
        if not found or (len(found) == 2 and found[0][1] == found[1][1]):
            return None
        return Match(self._forms[found[0][0]], same=False)

    def nearest(self, word: str, count: int = 5) -> list[str]:
        """Return up to `count` similar texts (see `nearest`)."""
        scorer: Callable[..., float] = JaroWinkler.similarity
        found = process.extract(
            _plain(word), self._choices, scorer=scorer, score_cutoff=_SIMILAR, limit=count
        )
        return [self._forms[form] for form, _, _ in found]

    def beginning(self, start: str, count: int = 5) -> list[str]:
        """Return up to `count` texts that begin alike, but for capitals, accents and spaces before them."""
        sought = _plain(start)
        if not sought:
            return []
        first = bisect_left(self._sorted, sought)
        return [self._forms[form] for form in self._sorted[first : first + count] if form.startswith(sought)]

    def _folded(self) -> Iterable[tuple[Callable[[str], str], dict[str, str]]]:
        yield str, self._exact
        yield same_form, self._same_form
        yield _without_capitals, self._without_capitals
        yield without_accents, self._without_accents

    def _by_form(self, fold: Callable[[str], str]) -> dict[str, str]:
        by_form: dict[str, str] = {}
        for text in self._texts:
            by_form.setdefault(fold(text), text)
        return by_form

    @cached_property
    def _exact(self) -> dict[str, str]:
        return self._by_form(str)

    @cached_property
    def _same_form(self) -> dict[str, str]:
        return self._by_form(same_form)

    @cached_property
    def _without_capitals(self) -> dict[str, str]:
        return self._by_form(_without_capitals)

    @cached_property
    def _without_accents(self) -> dict[str, str]:
        return self._by_form(without_accents)

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Each text by its form without accents and spaces; of several, one with a leading space."""
        forms: dict[str, str] = {}
        for text in self._texts:
            form = _plain(text)
            if form and (form not in forms or (text[:1] == " " != forms[form][:1])):
                forms[form] = text
        return forms

    @cached_property
    def _choices(self) -> list[str]:
        return list(self._forms)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._forms)


def best_match(word: str, indexes: Sequence[WordIndex]) -> Match | None:
    """Return the best match of a word in several indexes; of equally good ones, the first index's."""
    found = [ranked for index in indexes if (ranked := index.match(word)) is not None]
    return min(found, key=lambda ranked: ranked[0])[1] if found else None


def match_word(word: str, texts: Iterable[str]) -> Match | None:
    """Return the text that is the word exactly, else but for capitals, else but for accents; else None.

    Of several, one with a leading space is preferred, since tokens of whole words have one; then the first.
    """
    return best_match(word, [WordIndex(texts)])


def match_typo(word: str, texts: Iterable[str]) -> Match | None:
    """Return the one text that is nearest to the word within a few typos; None if there is none, or a tie.

    A typo is a letter that is wrong, missing or added, or two that are transposed (optimal string alignment
    distance). One is allowed for every four letters of the word.
    """
    return WordIndex(texts).match_typo(word)


def nearest(word: str, texts: Iterable[str], count: int = 5) -> list[str]:
    """Return up to `count` texts that are similar to a word, most similar first."""
    return WordIndex(texts).nearest(word, count)


@lru_cache(maxsize=1 << 18)  # the same tokens come in every relation
def without_accents(text: str) -> str:
    """Return a text in lower case without accents: São -> sao."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def _without_capitals(text: str) -> str:
    return same_form(same_form(text).casefold())


def _plain(text: str) -> str:
    return without_accents(text.strip())
