"""The shipped catalogue."""

import pytest
import yaml

from lincorr.relations.reading import SHIPPED as FOLDER
from lincorr.relations.relation import Template

# Others code against these names, and stores have them.
PROMISED = {
    "city-country", "birthplace-country", "city-continent", "city-language", "country-continent",
    "country-capital", "country-currency", "country-language", "language-continent", "ceo-company",
    *(f"city-city-{language}" for language in ("es", "fr", "de", "zh", "ja")),
    *(f"country-country-{language}" for language in ("es", "fr", "de", "zh", "ja")),
    "fruit-color", "food-taste", "gem-color", "name-country", "animal-size", "object-genre", "object-heat",
    "object-size", "object-price", "object-color", "plus-1-plus-2", "plus-1-times-2", "mother-father",
}  # fmt: skip


def test_the_promised_relations_are_there(shipped):
    assert set(shipped.names()) >= PROMISED


def test_every_shipped_relation_is_complete(shipped):
    for name in shipped.names():
        relation = shipped.relation(name)
        assert relation.name == name
        assert relation.family in {"attribute", "cross-language", "simile", "arithmetic"}
        sources, targets = set(relation.source.answers), set(relation.target.answers)
        assert len(sources) == len(relation.source.answers), name
        assert len(targets) == len(relation.target.answers), name
        usable = [pair for pair in relation.truth if pair[0] in sources and pair[1] in targets]
        assert len(usable) >= min(len(targets), 20) or relation.family == "arithmetic" or not relation.truth
        assert len(set(relation.truth)) == len(relation.truth), name


def test_most_promised_relations_have_a_truth(shipped):
    assert {name for name in PROMISED if not shipped.describe(name).truth} == {"mother-father"}


def test_attributes_have_a_truth_but_where_there_is_none_by_nature(shipped):
    attributes = [name for name in shipped.names() if shipped.describe(name).family == "attribute"]
    without = {name for name in attributes if not shipped.relation(name).truth}
    assert without == {"mother-father", "pet-personality", "music-gender"}


def templates_of(file: str) -> dict[str, str]:
    templates: dict[str, str] = yaml.safe_load((FOLDER / f"{file}.yaml").read_text("utf-8"))["templates"]
    return templates


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("attributes", 23),
        ("languages", 55),
        ("similes", 16),
        ("arithmetic", 16),
    ],  # the paper lists 16 similes
)
def test_there_are_as_many_templates_as_in_the_paper(shipped, file, count):
    templates = templates_of(file)
    assert len(templates) == len(set(templates.values())) == count
    assert all(shipped.templates[name].text == text for name, text in templates.items())


def test_every_language_asks_the_same_eleven_attributes():
    asked = {name for name in templates_of("languages")}
    first = {name.removesuffix("-es") for name in asked if name.endswith("-es")}
    assert len(first) == 11
    assert first <= set(templates_of("attributes"))
    assert asked == {f"{name}-{language}" for name in first for language in ("es", "fr", "de", "zh", "ja")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("city", "{} lives in the city of"),
        ("country", "{} lives in the country of"),
        ("continent", "{} lives in the continent of"),
        ("language", "{} speaks the language of"),
        ("ceo", "{} works for the CEO called"),
        ("vehicle", "{}'s preferred mode of transportation is"),
        ("country-fr", "{} vit dans le pays de"),
        ("country-de", "{} lebt im Land"),
        ("country-es", "{} vive en el país de"),
        ("city-zh", "{}所居住的城市是"),
        ("language-ja", "{}が話している言語は"),
        ("name-country", "{} lives in the same country as"),
        ("simile-taste", "The taste of {} is"),
        ("plus-1", "{}+1="),
        ("times-2", "{}*2="),
        # the paper's slips, mended
        ("object-price", "The price of {} is the same as"),
        ("simile-price", "The price of {} is"),
        ("fruit-color", "{} has the same color as the fruit:"),
        ("father-es", "El nombre del padre de {} es"),
    ],
)
def test_the_papers_prompts_are_kept_word_for_word(shipped, name, text):
    assert shipped.templates[name].text == text


def test_every_relation_with_a_truth_is_asked_outright(shipped):
    for name in shipped.names():
        relation = shipped.relation(name)
        assert bool(relation.asked) == bool(relation.truth), name
        assert not relation.truth or 2 <= len(relation.asked) <= 3, name
        assert {Template("", text).gap for text in relation.asked} <= {relation.target.template.gap}, name
