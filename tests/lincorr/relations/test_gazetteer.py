"""The tables against facts that anyone can look up, written here by hand."""

import pytest

from lincorr.relations.gazetteer import ANSWERS, TRUTH
from lincorr.relations.gazetteer.cities import FOREIGN_CITIES, cities, city_names
from lincorr.relations.gazetteer.continents import continent_names
from lincorr.relations.gazetteer.countries import countries, country_names
from lincorr.relations.gazetteer.languages import language_names
from lincorr.relations.gazetteer.sources import FOREIGN, aliases

FACTS = [
    ("city-country", "Tokyo", "Japan"),
    ("city-country", "Paris", "France"),
    ("city-country", "Berlin", "Germany"),
    ("city-country", "Oslo", "Norway"),
    ("city-country", "Istanbul", "Turkey"),
    ("city-country", "Istanbul", "Türkiye"),
    ("city-country", "Amsterdam", "Netherlands"),
    ("city-country", "Amsterdam", "Holland"),
    ("city-country", "Chicago", "United States"),
    ("city-country", "Chicago", "America"),
    ("city-country", "Chicago", "USA"),
    ("city-country", "Seoul", "Korea"),
    ("city-country", "Prague", "Czechia"),
    ("city-country", "London", "United Kingdom"),
    ("city-country", "London", "England"),
    ("city-country", "London", "Britain"),
    ("city-country", "Glasgow", "Scotland"),
    ("city-country", "Cardiff", "Wales"),
    ("city-country", "Hong Kong", "China"),
    ("city-country", "Kyiv", "Ukraine"),
    ("city-country", "Kiev", "Ukraine"),
    ("city-country", "Mumbai", "India"),
    ("city-country", "Bombay", "India"),
    ("city-country", "Calcutta", "India"),
    ("city-country", "Madras", "India"),
    ("city-country", "Bangalore", "India"),
    ("city-country", "Peking", "China"),
    ("city-country", "Saigon", "Vietnam"),
    ("city-country", "Montreal", "Canada"),
    ("city-country", "Zurich", "Switzerland"),
    ("city-country", "Lodz", "Poland"),
    ("city-country", "New York", "United States"),
    ("city-country", "Canberra", "Australia"),
    ("city-country", "Valencia", "Spain"),
    ("city-country", "San José", "Costa Rica"),
    ("city-continent", "Berlin", "Europe"),
    ("city-continent", "Cairo", "Africa"),
    ("city-continent", "Istanbul", "Asia"),
    ("city-continent", "Istanbul", "Europe"),
    ("city-continent", "Moscow", "Europe"),
    ("city-continent", "Novosibirsk", "Asia"),
    ("city-continent", "Sydney", "Australia"),
    ("city-continent", "Auckland", "Oceania"),
    ("city-language", "Vienna", "German"),
    ("country-continent", "Japan", "Asia"),
    ("country-continent", "England", "Europe"),
    ("country-continent", "Brazil", "South America"),
    ("country-continent", "Brazil", "America"),
    ("country-continent", "Russia", "Asia"),
    ("country-continent", "East Timor", "Asia"),
    ("country-capital", "Japan", "Tokyo"),
    ("country-capital", "Australia", "Canberra"),
    ("country-capital", "USA", "Washington"),
    ("country-capital", "England", "London"),
    ("country-capital", "Scotland", "Edinburgh"),
    ("country-capital", "Kazakhstan", "Astana"),
    ("country-capital", "South Africa", "Cape Town"),
    ("country-currency", "Japan", "Yen"),
    ("country-currency", "France", "Euro"),
    ("country-currency", "America", "Dollar"),
    ("country-currency", "China", "Yuan"),
    ("country-currency", "England", "Pound"),
    ("country-currency", "Poland", "Zloty"),
    ("country-currency", "Saudi Arabia", "Riyal"),
    ("country-currency", "Iran", "Rial"),
    ("country-language", "Brazil", "Portuguese"),
    ("country-language", "Norway", "Norwegian"),
    ("country-language", "Iran", "Persian"),
    ("country-language", "Iran", "Farsi"),
    ("country-language", "China", "Chinese"),
    ("country-language", "China", "Mandarin"),
    ("country-language", "Switzerland", "French"),
    ("country-country-fr", "Germany", "Allemagne"),
    ("country-country-fr", "England", "Angleterre"),
    ("country-country-fr", "Myanmar", "Birmanie"),
    ("country-country-fr", "Vietnam", "Vietnam"),
    ("country-country-de", "Germany", "Deutschland"),
    ("country-country-de", "France", "Frankreich"),
    ("country-country-de", "UK", "Großbritannien"),
    ("country-country-es", "Germany", "Alemania"),
    ("country-country-es", "Spain", "España"),
    ("country-country-es", "Holland", "Holanda"),
    ("country-country-zh", "Germany", "德国"),
    ("country-country-zh", "England", "英格兰"),
    ("country-country-zh", "USA", "美国"),
    ("country-country-ja", "Germany", "ドイツ"),
    ("country-country-ja", "USA", "米国"),
    ("country-country-ja", "Myanmar", "ミャンマー"),
    ("city-city-es", "London", "Londres"),
    ("city-city-es", "Cairo", "Cairo"),
    ("city-city-es", "Milan", "Milán"),
    ("city-city-es", "Los Angeles", "Los Ángeles"),
    ("city-city-fr", "London", "Londres"),
    ("city-city-fr", "Beijing", "Pékin"),
    ("city-city-fr", "Paris", "Paris"),
    ("city-city-de", "Munich", "München"),
    ("city-city-de", "Warsaw", "Warschau"),
    ("city-city-de", "Boston", "Boston"),
    ("city-city-zh", "Beijing", "北京"),
    ("city-city-zh", "Peking", "北京"),
    ("city-city-zh", "Paris", "巴黎"),
    ("city-city-ja", "Tokyo", "東京"),
    ("city-city-ja", "Barcelona", "バルセロナ"),
    ("language-language-fr", "German", "allemand"),
    ("language-language-ja", "English", "英語"),
    ("continent-continent-de", "Europe", "Europa"),
    ("continent-continent-zh", "Asia", "亚洲"),
    ("language-continent", "Japanese", "Asia"),
    ("language-continent", "Portuguese", "South America"),
    ("language-continent", "Swahili", "Africa"),
]

FALSE = [
    ("city-country", "London", "Canada"),  # London, Ontario is the smaller one
    ("city-country", "Birmingham", "United States"),
    ("city-country", "Santiago", "Cuba"),
    ("city-country", "Valencia", "Venezuela"),
    ("city-country", "Edinburgh", "England"),
    ("city-country", "Chicago", "United"),
    ("city-country", "Seoul", "South"),
    ("city-continent", "Ankara", "Europe"),
    ("city-continent", "Moscow", "Asia"),
    ("city-continent", "Auckland", "Australia"),
    ("country-capital", "Australia", "Sydney"),
    ("country-capital", "USA", "New York"),
    ("country-language", "Brazil", "Spanish"),
    ("country-currency", "UK", "Euro"),
    ("country-currency", "Saudi Arabia", "Rial"),
    ("city-city-de", "Munich", "Munich"),
    ("city-city-es", "Cairo", "El Cairo"),  # "El" would stand for it
    ("city-city-zh", "Tokyo", "東京"),
    ("language-continent", "Japanese", "Europe"),
    ("language-continent", "German", "Asia"),
]


@pytest.mark.parametrize(("table", "source", "target"), FACTS)
def test_well_known_facts_are_right(table, source, target):
    assert (source, target) in TRUTH[table]()


@pytest.mark.parametrize(("table", "source", "target"), FALSE)
def test_near_misses_are_wrong(table, source, target):
    assert (source, target) not in TRUTH[table]()


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("cities", ["Tokyo", "New York City", "NYC", "São Paulo", "Sao Paulo", "Bern", "Bombay", "San José"]),
        ("countries", ["China", "America", "USA", "England", "Britain", "UK", "Holland", "Korea"]),
        ("continents", ["Asia", "Africa", "Europe", "America", "Oceania", "Australia"]),
        ("capitals", ["Tokyo", "Canberra", "Ottawa", "Brasília"]),
        ("currencies", ["Euro", "Dollar", "Yen", "Yuan", "Riel"]),
        ("languages", ["English", "Farsi", "Welsh", "Bengali"]),
        ("countries-fr", ["Allemagne", "États-Unis", "Angleterre", "Corée"]),
        ("countries-de", ["Deutschland", "Vereinigte Staaten", "USA"]),
        ("cities-zh", ["北京", "纽约", "伦敦"]),
        ("languages-de", ["Englisch", "Deutsch"]),
        ("countries-es", ["Alemania", "Estados Unidos", "Inglaterra"]),
    ],
)
def test_lists_hold_the_names_people_use(table, names):
    assert set(names) <= set(ANSWERS[table]())


@pytest.mark.parametrize("table", sorted(ANSWERS))
def test_lists_hold_clean_names_once(table):
    names = ANSWERS[table]()
    assert len(names) == len(set(names))
    for name in names:
        assert name
        assert name == name.strip()
        assert not name.startswith("The ")  # or "The" would stand for it
        assert "(" not in name


@pytest.mark.parametrize("table", sorted(TRUTH))
def test_truth_joins_whole_names_once(table):
    pairs = TRUTH[table]()
    assert len(pairs) == len(set(pairs))
    assert all(source and target for source, target in pairs)


def test_lists_are_in_order_of_prominence():
    assert country_names().index("Japan") < country_names().index("Norway")
    assert city_names().index("Tokyo") < city_names().index("Bern")
    assert language_names()[0] == "English"
    assert continent_names()[0] == "Asia"
    assert country_names().index("America") < country_names().index("Norway")


def test_everyday_words_do_not_pass_for_cities():
    assert not {"Sale", "Van", "Male", "Valley"} & set(city_names())


def test_states_that_are_no_more_are_left_out():
    assert "Serbia and Montenegro" not in country_names()
    assert "Serbia" in country_names()


def test_each_alias_belongs_to_a_place_that_exists():
    known = aliases()
    codes = {country.code for country in countries()}
    for section in ("countries", "capitals", "parts", "also_in", "lies_in", "within"):
        assert set(known[section]) <= codes, section
    assert set(known["within"].values()) | set(known["meant"].values()) <= codes
    for language in FOREIGN:
        assert set(known["foreign"][language]) <= codes
    every_city = {name for city in cities() for name in city.names}
    with FOREIGN_CITIES.open(encoding="utf-8") as lines:
        assert {line.split(",")[0] for line in lines if line[0] != "#"} - every_city == {"name"}
    assert {*known["cities"], *known["meant"]} <= every_city
    assert set(known["city_continents"]) <= every_city
