"""Every answer list and ground truth that a catalogue file may name. Importing this module loads none."""

from collections.abc import Callable
from functools import cache

from lincorr.relations import arithmetic, gazetteer, wordlists
from lincorr.relations.gazetteer.countries import with_country

Pairs = tuple[tuple[str, str], ...]


@cache
def name_country() -> Pairs:
    """A given name and the countries where it is common, each under all its names."""
    return with_country(wordlists.known("names", "country"))


@cache
def landmark_country() -> Pairs:
    """A landmark and its country, under all of the country's names."""
    return with_country(wordlists.known("landmarks", "country"))


@cache
def vacation_country() -> Pairs:
    """A place to spend holidays and its country, under all of the country's names."""
    return with_country(wordlists.known("vacations", "country"))


# Lists of answers, most prominent first, each name once.
ANSWERS: dict[str, Callable[[], tuple[str, ...]]] = {
    **gazetteer.ANSWERS,
    **wordlists.ANSWERS,
    **arithmetic.ANSWERS,
}

# (source, target) pairs; a source may have several right targets.
TRUTH: dict[str, Callable[[], Pairs]] = {
    **gazetteer.TRUTH,
    **wordlists.TRUTH,
    **arithmetic.TRUTH,
    "name-country": name_country,
    "landmark-country": landmark_country,
    "vacation-country": vacation_country,
}
