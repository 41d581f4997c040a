"""Find the token that a person means: capitals, spaces and accents do not matter, a slip hardly."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler

_LETTERS_A_SLIP = 4  # one wrong letter in four to seven, two in eight to eleven
_LIKE = 0.75  # Jaro-Winkler similarity below which a word is no hint


@dataclass(frozen=True, slots=True)
class Match:
    """A token text that was found for a word.

    Attributes:
        text: the token's surface text.
        same: nothing but capitals and spaces around it differ from the word.
    """

    text: str
    same: bool


def match_word(word: str, texts: Iterable[str]) -> Match | None:
    """Return the text that is the word: as it is, else in other capitals, else with other accents.

    Of each kind a text with a leading space comes first, as tokens of whole words have one; of equals
    the first.
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


def match_slip(word: str, texts: Iterable[str]) -> Match | None:
    """Return the one text that is a slip of the pen away from the word; None where there is none, or two.

    A slip is a letter that is wrong, missing or too many, or two that changed places (optimal string
    alignment distance), once for every four letters of the word.
    """
    sought = _plain(word)
    most = len(sought) // _LETTERS_A_SLIP
    forms = _forms(texts)
    found = process.extract(sought, list(forms), scorer=OSA.distance, score_cutoff=most, limit=2)
    if not found or (len(found) == 2 and found[0][1] == found[1][1]):
        return None
    return Match(forms[found[0][0]], same=False)


def nearest(word: str, texts: Iterable[str], count: int = 5) -> list[str]:
    """Return the texts that are most like a word, nearest first; none that are not like it."""
    forms = _forms(texts)
    scorer: Callable[..., float] = JaroWinkler.similarity
    found = process.extract(_plain(word), list(forms), scorer=scorer, score_cutoff=_LIKE, limit=count)
    return [forms[form] for form, _, _ in found]


@lru_cache(maxsize=1 << 18)  # the same tokens are asked for in every relation
def without_accents(text: str) -> str:
    """Return a text in small letters without accents: São -> sao."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))


def _plain(text: str) -> str:
    return without_accents(text.strip())


def _forms(texts: Iterable[str]) -> dict[str, str]:
    """Each text by its plain form; of those that share it, one with a leading space."""
    forms: dict[str, str] = {}
    for text in texts:
        form = _plain(text)
        if form and (form not in forms or (text[:1] == " " != forms[form][:1])):
            forms[form] = text
    return forms
