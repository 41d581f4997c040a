"""Find the token that a user means, whatever its capitals, spaces, accents and typos."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler

_LETTERS_PER_TYPO = 4  # one typo in a word of four to seven letters, two in one of eight to eleven
_SIMILAR = 0.75  # Jaro-Winkler similarity below which a word is not suggested


@dataclass(frozen=True, slots=True)
class Match:
    """The text of a token that was found for a word.

    Attributes:
        text: the token's surface text.
        same: whether it is the word but for capitals and surrounding spaces.
    """

    text: str
    same: bool


def match_word(word: str, texts: Iterable[str]) -> Match | None:
    """Return the text that is the word exactly, else but for capitals, else but for accents; else None.

    Of several, one with a leading space is preferred, since tokens of whole words have one; then the first.
    """
    known = list(dict.fromkeys(texts))
    for fold in (str, str.casefold, without_accents):
        by_form: dict[str, str] = {}
        for text in known:
            by_form.setdefault(fold(text), text)
        for form in (f" {word}", f" {word.strip()}", word, word.strip()):
            if (found := by_form.get(fold(form))) is not None:
                return Match(found, fold is not without_accents)
    return None


def match_typo(word: str, texts: Iterable[str]) -> Match | None:
    """Return the one text that is nearest to the word within a few typos; None if there is none, or a tie.

    A typo is a letter that is wrong, missing or added, or two that are transposed (optimal string alignment
    distance). One is allowed for every four letters of the word.
    """
    sought = _plain(word)
    most = len(sought) // _LETTERS_PER_TYPO
    forms = _forms(texts)
    found = process.extract(sought, list(forms), scorer=OSA.distance, score_cutoff=most, limit=2)
    if not found or (len(found) == 2 and found[0][1] == found[1][1]):
        return None
    return Match(forms[found[0][0]], same=False)


def nearest(word: str, texts: Iterable[str], count: int = 5) -> list[str]:
    """Return up to `count` texts that are similar to a word, most similar first."""
    forms = _forms(texts)
    scorer: Callable[..., float] = JaroWinkler.similarity
    found = process.extract(_plain(word), list(forms), scorer=scorer, score_cutoff=_SIMILAR, limit=count)
    return [forms[form] for form, _, _ in found]


@lru_cache(maxsize=1 << 18)  # the same tokens come in every relation
def without_accents(text: str) -> str:
    """Return a text in lower case without accents: São -> sao."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def _plain(text: str) -> str:
    return without_accents(text.strip())


def _forms(texts: Iterable[str]) -> dict[str, str]:
    """Each text by its form without accents and spaces; of several, one with a leading space."""
    forms: dict[str, str] = {}
    for text in texts:
        form = _plain(text)
        if form and (form not in forms or (text[:1] == " " != forms[form][:1])):
            forms[form] = text
    return forms
