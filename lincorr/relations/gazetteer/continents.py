"""Continents: their words, and which of them hold a country."""

from collections import Counter
from collections.abc import Iterable
from functools import cache

from lincorr.relations.gazetteer.sources import aliases, cldr, geonames
from lincorr.relations.gazetteer.words import Pairs, Words, all_pairs, distinct


def continent_words(codes: Iterable[str]) -> Words:
    """English words for continents given as geonames' codes."""
    continents = {code: record["name"] for code, record in geonames("continents").items()}
    further = aliases()["continents"]
    return distinct(word for code in codes for word in (continents.get(code, ""), *further.get(code, ())))


def continents_of(country: str) -> list[str]:
    """Codes of the continents that hold a country, without those it merely reaches into."""
    own: list[str] = aliases()["lies_in"].get(country, [geonames("countries")[country]["continentcode"]])
    return own


@cache
def continent_names() -> Words:
    """Continents by population, descending."""
    return continent_words(_codes())


@cache
def foreign_continent_names(language: str) -> Words:
    """The continents in another language (one of FOREIGN), in the order of `continent_names`."""
    return distinct(name for code in _codes() for name in _foreign(code, language))


@cache
def continent_foreign(language: str) -> Pairs:
    """A continent in English and in another language (one of FOREIGN)."""
    return all_pairs((continent_words([code]), _foreign(code, language)) for code in _codes())


@cache
def _codes() -> tuple[str, ...]:
    """Geonames' codes of the continents by population, descending."""
    people: Counter[str] = Counter(dict.fromkeys(geonames("continents"), 0))
    for code, record in geonames("countries").items():
        for continent in continents_of(code):
            people[continent] += record["population"]
    return tuple(code for code, _ in people.most_common())


def _foreign(code: str, language: str) -> Words:
    territories = cldr(language, "territories")
    return distinct(territories[number] for number in aliases()["cldr_continents"][code])
