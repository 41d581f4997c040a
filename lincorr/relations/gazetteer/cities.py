"""Cities: the countries and continents they lie in, and what other languages call them."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lincorr.relations.gazetteer.continents import continent_words, continents_of
from lincorr.relations.gazetteer.countries import Country, countries_by_code
from lincorr.relations.gazetteer.sources import SHIPPED, aliases, cldr, geonames, unremarked
from lincorr.relations.gazetteer.words import Pairs, Words, all_pairs, distinct, spellings, tidy

FOREIGN_CITIES = SHIPPED / "cities.csv"

# A city answers a prompt if it is this large, or its country's capital.
ANSWER_POPULATION = 500_000
# Facts reach further down than answers, since users bring answer lists of their own.
TRUTH_POPULATION = 100_000
# Meridian taken as the border of Europe and Asia within Russia: the Urals.
URALS_EAST = 60.0


@dataclass(frozen=True, slots=True)
class City:
    """A city: its words, and every right word for its country, its continent and its country's languages.

    Attributes:
        population: number of people.
        capital: whether it is its country's capital, or one of its seats.
    """

    names: Words
    population: int
    capital: bool
    countries: Words
    continents: Words
    languages: Words


@cache
def cities() -> tuple[City, ...]:
    """Cities of at least TRUTH_POPULATION and all capitals, by population, descending.

    A name that several cities share means the most populous, or the one that `aliases` says: no name occurs
    twice.
    """
    further, meant = dict(aliases()["cities"]), aliases()["meant"]
    taken: set[str] = set(aliases()["disregarded"])
    found: list[City] = []
    known = countries_by_code()
    for record in sorted(geonames("cities").values(), key=lambda city: -city["population"]):
        code = record["countrycode"]
        if code not in known:
            continue
        spelt = spellings((tidy(record["name"]), *further.pop(record["name"], ())))
        names = tuple(name for name in spelt if name not in taken and meant.get(name, code) == code)
        taken.update(names)
        capital = any(name in known[code].capitals for name in spelt)  # San José, where San Jose is taken
        if names and (capital or record["population"] >= TRUTH_POPULATION):
            found.append(_city(record, names, tuple(_homes(record)), capital=capital))
    return tuple(found)


def _city(record: Mapping[str, Any], names: Words, homes: tuple[Country, ...], *, capital: bool) -> City:
    return City(
        names=names,
        population=record["population"],
        capital=capital,
        countries=distinct(name for home in homes for name in home.names),
        continents=_continents(record),
        languages=homes[0].languages,
    )


def _homes(record: Mapping[str, Any]) -> Iterator[Country]:
    """The countries a city is rightly said to lie in: its own, a part of it, the one it is in."""
    code, known = record["countrycode"], countries_by_code()
    for home in (code, f"{code}.{record['admin1code']}", aliases()["within"].get(code, "")):
        if home in known:
            yield known[home]


def _continents(record: Mapping[str, Any]) -> Words:
    code = record["countrycode"]
    own = continents_of(code)
    if code == "RU" and record["longitude"] > URALS_EAST:
        own = ["AS"]
    return continent_words(aliases()["city_continents"].get(record["name"], own))


# --- in other languages -------------------------------------------------------------------------------


@cache
def foreign_cities(language: str) -> dict[str, Words]:
    """What cities are called in another language (one of FOREIGN), by English name.

    CLDR knows the cities that stand for time zones; `FOREIGN_CITIES` has further ones. Articles are left out
    ("La Habana"), since they would pass for the first word of the name.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for english, foreign in _zone_cities(language):
        found[english].append(foreign)
    with FOREIGN_CITIES.open(encoding="utf-8", newline="") as lines:
        rows: Iterable[dict[str, str]] = csv.DictReader(line for line in lines if line[0] != "#")
        for row in rows:
            found[row["name"]] += (row[language] or row["name"]).split("|")
    return {
        english: distinct(_without_article(name, english) for name in names)
        for english, names in found.items()
    }


def _zone_cities(language: str) -> Iterator[tuple[str, str]]:
    """English and foreign name of every time zone's city; CLDR omits a name that is in the zone's id."""
    zones = cldr("zh", "time_zones")  # Chinese has a name for each; ids are the same in all languages
    english, foreign = cldr("en", "time_zones"), cldr(language, "time_zones")
    for zone in zones:
        name = english.get(zone, {}).get("city") or zone.split("/")[-1].replace("_", " ")
        yield name, unremarked(foreign.get(zone, {}).get("city") or name)


def _without_article(name: str, english: str) -> str:
    article, _, rest = name.partition(" ")
    is_article = rest and article in ("El", "La", "Las", "Le", "Los") and not english.startswith(article)
    return rest if is_article else name


def _city_and_foreign(language: str) -> Iterator[tuple[Words, Words]]:
    table = foreign_cities(language)
    for city in cities():
        foreign = distinct(word for name in city.names for word in table.get(name, ()))
        if foreign:
            yield city.names, foreign


# --- answers ------------------------------------------------------------------------------------------


@cache
def city_names() -> Words:
    """Cities of at least ANSWER_POPULATION and all capitals, by population, descending."""
    return distinct(
        name
        for city in cities()
        if city.capital or city.population >= ANSWER_POPULATION
        for name in city.names
    )


@cache
def foreign_city_names(language: str) -> Words:
    """The cities in another language (one of FOREIGN), by population, descending."""
    return distinct(name for _, foreign in _city_and_foreign(language) for name in foreign)


# --- truth --------------------------------------------------------------------------------------------


@cache
def city_city() -> Pairs:
    """A city and itself, under all its names."""
    return all_pairs((city.names, city.names) for city in cities())


@cache
def city_country() -> Pairs:
    """A city and its country; for London, England as well as the United Kingdom."""
    return all_pairs((city.names, city.countries) for city in cities())


@cache
def city_continent() -> Pairs:
    """A city and its continent."""
    return all_pairs((city.names, city.continents) for city in cities())


@cache
def city_language() -> Pairs:
    """A city and the official languages of its country."""
    return all_pairs((city.names, city.languages) for city in cities())


@cache
def city_foreign(language: str) -> Pairs:
    """A city in English and in another language (one of FOREIGN)."""
    return all_pairs(_city_and_foreign(language))
