"""Every answer list and truth that a catalogue file may name, from wherever it is kept.

Importing this module loads none of them.
"""

from collections.abc import Callable
from functools import cache

from lincorr.relations import arithmetic, gazetteer, wordlists
from lincorr.relations.gazetteer.countries import with_country

Pairs = tuple[tuple[str, str], ...]


@cache
def name_country() -> Pairs:
    """A given name and the countries where it is at home, each by all its words."""
    return with_country(wordlists.known("names", "country"))


@cache
def landmark_country() -> Pairs:
    """A sight and the country it is in, by all the country's words."""
    return with_country(wordlists.known("landmarks", "country"))


# Lists of answers, most prominent first, no name twice.
ANSWERS: dict[str, Callable[[], tuple[str, ...]]] = {
    **gazetteer.ANSWERS,
    **wordlists.ANSWERS,
    **arithmetic.ANSWERS,
}

# (source, target) pairs, several right ones included.
TRUTH: dict[str, Callable[[], Pairs]] = {
    **gazetteer.TRUTH,
    **wordlists.TRUTH,
    **arithmetic.TRUTH,
    "name-country": name_country,
    "landmark-country": landmark_country,
}
