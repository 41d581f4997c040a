"""Countries, and what goes with them: continents, capitals, currencies, official languages."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lincorr.relations.gazetteer.continents import continent_words, continents_of
from lincorr.relations.gazetteer.sources import FOREIGN, aliases, cldr, geonames, unremarked
from lincorr.relations.gazetteer.words import Pairs, Words, all_pairs, distinct, spellings, tidy


@dataclass(frozen=True, slots=True)
class Country:
    """A country, or a country within one (England); each field holds every right word.

    Attributes:
        code: ISO 3166, with geonames' first-order division for a country within one ("GB.ENG").
        population: number of people.
        foreign: language (one of FOREIGN) -> words for the country in it.
    """

    code: str
    names: Words
    population: int
    continents: Words
    capitals: Words
    currencies: Words
    languages: Words
    foreign: Mapping[str, Words]


@cache
def countries() -> tuple[Country, ...]:
    """Every inhabited country and territory, and the parts that go by their own name (England),
    by population, descending."""
    whole = {
        code: _country(code, record)
        for code, record in geonames("countries").items()
        if record["population"] > 0 and code not in aliases()["dissolved"]
    }
    parts = [_part(code, record, whole[code.split(".")[0]]) for code, record in aliases()["parts"].items()]
    return tuple(sorted([*whole.values(), *parts], key=lambda country: -country.population))


@cache
def countries_by_code() -> dict[str, Country]:
    """The countries by `Country.code`."""
    return {country.code: country for country in countries()}


def language_words(codes: Iterable[str]) -> Words:
    """English words for languages given as CLDR codes; the script (zh_Hant) is ignored."""
    english = cldr("en", "languages")
    further = aliases()["languages"]
    bases = distinct(code.split("_")[0] for code in codes)
    return distinct(word for base in bases for word in (english.get(base, ""), *further.get(base, ())))


def _country(code: str, record: Mapping[str, Any]) -> Country:
    from babel.languages import get_official_languages

    known = aliases()
    return Country(
        code=code,
        names=spellings((tidy(record["name"]), *known["countries"].get(code, ()))),
        population=record["population"],
        continents=continent_words((*continents_of(code), *known["also_in"].get(code, ()))),
        capitals=spellings((tidy(record["capital"]), *known["capitals"].get(code, ()))),
        currencies=spellings(known["currencies"].get(record["currencycode"], (record["currencyname"],))),
        languages=language_words(get_official_languages(code, de_facto=True)),
        foreign={language: _foreign(code, language) for language in FOREIGN},
    )


def _foreign(code: str, language: str) -> Words:
    name = unremarked(cldr(language, "territories").get(code, ""))
    return distinct((name, *aliases()["foreign"][language].get(code, ())))


def _part(code: str, record: Mapping[str, Any], whole: Country) -> Country:
    """A country within `whole`, which shares what it does not have for itself."""
    return Country(
        code=code,
        names=tuple(record["names"]),
        population=record["population"],
        continents=whole.continents,
        capitals=(record["capital"],),
        currencies=whole.currencies,
        languages=whole.languages,
        foreign={language: tuple(words) for language, words in record["foreign"].items()},
    )


# --- answers ------------------------------------------------------------------------------------------


@cache
def country_names() -> Words:
    """Countries by population, descending, each followed by the other words for it."""
    return distinct(name for country in countries() for name in country.names)


@cache
def foreign_country_names(language: str) -> Words:
    """The countries in another language (one of FOREIGN), in the order of `country_names`."""
    return distinct(name for country in countries() for name in country.foreign[language])


@cache
def capital_names() -> Words:
    """Capitals by their countries' population, descending."""
    return distinct(name for country in countries() for name in country.capitals)


@cache
def currency_names() -> Words:
    """What people call the units of money, by the number of people who pay in them, descending."""
    people: Counter[str] = Counter()
    for country in countries():
        people.update(dict.fromkeys(country.currencies, country.population))
    return tuple(name for name, _ in people.most_common())


# --- truth --------------------------------------------------------------------------------------------


@cache
def country_continent() -> Pairs:
    """A country and its continent, or both of them for a country that reaches into two."""
    return all_pairs((country.names, country.continents) for country in countries())


@cache
def country_capital() -> Pairs:
    """A country and its capital; every seat where it has several."""
    return all_pairs((country.names, country.capitals) for country in countries())


@cache
def country_currency() -> Pairs:
    """A country and what its people call their money."""
    return all_pairs((country.names, country.currencies) for country in countries())


@cache
def country_language() -> Pairs:
    """A country and the languages official in the whole of it, by law or in fact."""
    return all_pairs((country.names, country.languages) for country in countries())


@cache
def country_foreign(language: str) -> Pairs:
    """A country in English and in another language (one of FOREIGN)."""
    return all_pairs((country.names, country.foreign[language]) for country in countries())


def with_country(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Pair something with all words for its country, given pairs with any one of them.

    Raises:
        KeyError: a word is not a country's.
    """
    called = {name: country.names for country in reversed(countries()) for name in country.names}
    return all_pairs(((name,), called[country]) for name, country in pairs)
