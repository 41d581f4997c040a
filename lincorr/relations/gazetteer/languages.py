"""Languages by their speakers, and the continents where they are official."""

from collections import Counter
from functools import cache

from lincorr.relations.gazetteer.countries import countries, language_words
from lincorr.relations.gazetteer.sources import cldr, unremarked
from lincorr.relations.gazetteer.words import Pairs, Words, all_pairs, distinct

# Languages spoken by fewer people are listed only where they are official.
LANGUAGE_SPEAKERS = 1_000_000


@cache
def language_names() -> Words:
    """Languages that are official somewhere or widely spoken, by speakers, descending."""
    return language_words(_codes())


@cache
def foreign_language_names(language: str) -> Words:
    """The languages in another language (one of FOREIGN), in the order of `language_names`."""
    return distinct(name for code in _codes() for name in _foreign(code, language))


@cache
def language_continent() -> Pairs:
    """A language and the continents of the countries in the whole of which it is official."""
    return all_pairs((country.languages, country.continents) for country in countries())


@cache
def language_foreign(language: str) -> Pairs:
    """A language in English and in another language (one of FOREIGN)."""
    return all_pairs((language_words([code]), _foreign(code, language)) for code in _codes())


@cache
def _codes() -> tuple[str, ...]:
    """Codes of the languages that are official somewhere or widely spoken, by speakers, descending."""
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


def _foreign(code: str, language: str) -> Words:
    return distinct((unremarked(cldr(language, "languages").get(code, "")),))
