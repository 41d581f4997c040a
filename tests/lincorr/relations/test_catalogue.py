"""Catalogue files of one's own: what is read, and what is refused."""

import pytest

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Relation, Side, Template
from tests.lincorr.relations.catalogue_files import OWN, one_line, refusal, write

SHIPPED = set(load_catalogue().names())


def test_relations_are_a_mapping(shipped):
    assert len(shipped.relations) == len(SHIPPED)
    assert "zzz" not in shipped.relations
    with pytest.raises(KeyError):
        shipped.relations["zzz"]


def test_a_users_relation_stands_beside_the_shipped_ones(tmp_path):
    catalogue = load_catalogue([write(tmp_path / "own.yaml", OWN)])
    assert catalogue.names()[-1] == "pet-sound"
    assert set(catalogue.names()) > SHIPPED
    assert catalogue.relation("pet-sound") == Relation(
        name="pet-sound",
        family="animals",
        source=Side(Template("beast", "{}'s pet is a"), ("dog", "cat", "cow")),
        target=Side(Template("sound", "{}'s pet says"), ("woof", "meow", "moo")),
        truth=(("dog", "woof"), ("cat", "meow"), ("cow", "moo")),
    )


def test_lists_may_be_files_beside_the_catalogue(tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "lists").mkdir(parents=True)
    write(own / "lists" / "towns.json", '["Tokyo", "Kyoto", "Tokyo"]')
    write(own / "lists" / "countries.csv", "code,Name\nJP,Japan\nFR,France\n")
    write(own / "lists" / "truth.txt", "Tokyo\tJapan\n\nKyoto\tJapan\n")
    path = write(
        own / "own.yaml",
        "relations:\n"
        "  town-country:\n"
        "    source: {template: city, answers: {file: lists/towns.json}}\n"
        "    target: {template: country, answers: {file: lists/countries.csv}}\n"
        "    truth: {file: lists/truth.txt}\n",
    )
    monkeypatch.chdir(tmp_path)  # the lists are found from the file, not from where we are
    relation = load_catalogue([path]).relation("town-country")
    assert relation.family == "custom"
    assert relation.source.template.text == "{} lives in the city of"
    assert relation.source.answers == ("Tokyo", "Kyoto")
    assert relation.target.answers == ("Japan", "France")
    assert relation.truth == (("Tokyo", "Japan"), ("Kyoto", "Japan"))


@pytest.mark.parametrize(
    ("name", "twin"), [("beast", "City"), ("pet-sound", "City-Country"), ("sound", "Beast")]
)
def test_a_name_that_only_capitals_tell_from_another_is_refused(tmp_path, name, twin):
    """City and city are one folder of a store where a file system does not tell them apart."""
    path = write(tmp_path / "own.yaml", OWN.replace(f"  {name}:", f"  {twin}:"))
    refusal(path, twin, "in capitals only")


def test_a_users_relation_may_use_shipped_tables_and_leave_truth_out(tmp_path):
    path = write(
        tmp_path / "own.yaml",
        "relations:\n"
        "  capital-continent:\n"
        "    source: {template: capital, answers: capitals}\n"
        "    target: {template: continent, answers: [Asia, Europe]}\n",
    )
    relation = load_catalogue([path]).relation("capital-continent")
    assert "Tokyo" in relation.source.answers
    assert relation.target.answers == ("Asia", "Europe")
    assert relation.truth == ()


def test_a_later_file_may_use_an_earlier_ones_templates(tmp_path):
    first = write(tmp_path / "first.yaml", 'templates: {beast: "{} has a"}')
    second = write(
        tmp_path / "second.yaml",
        "relations: {a: {source: {template: beast, answers: [x]}, target: {template: city, answers: [y]}}}",
    )
    assert load_catalogue([first, second]).relation("a").source.template.text == "{} has a"
    with pytest.raises(BadInput, match="unknown template 'beast'"):
        load_catalogue([second])


def test_a_name_may_be_repeated_with_the_same_meaning_only(tmp_path):
    same = write(tmp_path / "same.yaml", 'templates: {city: "{} lives in the city of"}')
    assert set(load_catalogue([same, same]).names()) == SHIPPED

    other = write(tmp_path / "other.yaml", 'templates: {city: "{} is in"}')
    refusal(other, "templates.city", "'city'", "lives in the city of", "another name")


def test_a_template_given_twice_in_one_file_is_refused(tmp_path):
    path = write(tmp_path / "own.yaml", 'templates:\n  a: "{} is"\n  a: "{} was"\n')
    refusal(path, "line 3", "'a' is given twice")


def test_a_relation_of_a_known_name_must_be_the_same(tmp_path):
    first = write(tmp_path / "first.yaml", OWN)
    assert "pet-sound" in load_catalogue([first, first]).names()
    second = write(tmp_path / "second.yaml", OWN.replace("cow, moo", "cow, woof"))
    with pytest.raises(BadInput) as caught:
        load_catalogue([first, second])
    one_line(caught.value, "second.yaml", "relations.pet-sound", "another name")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("truth:", "thruth:", ["relations.pet-sound", "unknown key 'thruth'", "'truth'"]),
        ("answers: [dog", "answer: [dog", ["relations.pet-sound.source", "'answer'", "'answers'"]),
        ("relations:", "relation:", ["unknown key 'relation'", "'relations'"]),
        (
            "template: sound",
            "template: sond",
            ["relations.pet-sound.target.template", "unknown template 'sond'", "'sound'"],
        ),
        ("[dog, cat, cow]", "citys", ["source.answers", "unknown table 'citys'", "'cities'"]),
        (
            "[[dog, woof], [cat, meow], [cow, moo]]",
            "city-contry",
            ["pet-sound.truth", "unknown table 'city-contry'", "'city-country'"],
        ),
        ("[dog, cat, cow]", "[]", ["source.answers", "holds no name"]),
        ("[dog, cat, cow]", "[dog, no]", ["source.answers", "False", "quotes"]),
        ("[dog, cat, cow]", "7", ["source.answers", "7", "not a list of names"]),
        ("[[dog, woof], [cat, meow], [cow, moo]]", "[dog, woof]", ["truth", "'dog'", "pair"]),
        ("[[dog, woof], [cat, meow], [cow, moo]]", "[]", ["truth", "holds no pair"]),
        ("[dog, cat, cow]", "{file: no.txt}", ["source.answers", "no.txt", "no such file"]),
        ("[dog, cat, cow]", "{path: no.txt}", ["source.answers", "'path'", "'file'"]),
        ("family: animals", "family: 3", ["pet-sound.family", "3", "not text"]),
        ("pet-sound:", "pet/sound:", ["relations", "'pet/sound'", "letters"]),
        ("pet-sound:", "pet--sound:", ["relations", "'pet--sound'", "letters"]),
        ("pet-sound:", "7:", ["relations", "7", "quotes"]),
        ('  beast: "{}\'s pet is a"', "  beast: [a]", ["templates.beast", "['a']", "not text"]),
        ("source: {template: beast, ", "source: {", ["pet-sound.source", "'template' is missing"]),
    ],
)
def test_a_mistake_in_a_catalogue_file_is_named_in_one_line(tmp_path, old, new, words):
    assert old in OWN
    refusal(write(tmp_path / "own.yaml", OWN.replace(old, new)), *words)


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "relations: [a]", "templates:\n"])
def test_a_file_of_another_shape_is_refused(tmp_path, text):
    refusal(write(tmp_path / "own.yaml", text), "is not a mapping")


@pytest.mark.parametrize(
    "text", ["a: [b", "a: b: c", "\tx", "a: !!python/object:os.system {}", "a: &x {b: *x}", "\x00"]
)
def test_malformed_yaml_is_refused(tmp_path, text):
    refusal(write(tmp_path / "own.yaml", text), "not valid YAML")


def test_yaml_merge_keys_may_override(tmp_path):
    text = OWN.replace("  pet-sound:\n", "  pet-sound: &base\n")
    text += "  again:\n    <<: *base\n    family: other\n"
    assert load_catalogue([write(tmp_path / "own.yaml", text)]).relation("again").family == "other"


def test_a_missing_catalogue_file_is_refused(tmp_path):
    refusal(tmp_path / "none.yaml", "no such file")


def test_a_folder_is_refused(tmp_path):
    refusal(tmp_path, "cannot be read")


def test_another_encoding_is_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes('templates: {pais: "{} vive en el país de"}'.encode("latin-1"))
    refusal(path, "0xed", "UTF-8")
