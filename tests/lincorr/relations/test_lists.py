"""Lists of answers and pairs: what is read, and what is refused."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.lists import read_answers, read_pairs
from tests.lincorr.relations.catalogue_files import one_line, write


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


def test_one_csv_file_of_pairs_serves_as_both_lists_and_as_the_truth(tmp_path):
    write(tmp_path / "pairs.csv", "\nSource, Target\nLondon,England\nLondon,UK\nOslo,Norway\n")
    assert read_answers(tmp_path / "pairs.csv", "source") == ("London", "Oslo")
    assert read_answers(tmp_path / "pairs.csv", "target") == ("England", "UK", "Norway")
    write(
        tmp_path / "own.yaml",
        "templates: {seat: 'The capital is {} of'}\nrelations:\n  seat-country:\n"
        "    source: {template: seat, answers: {file: pairs.csv}}\n"
        "    target: {template: country, answers: {file: pairs.csv}}\n"
        "    truth: {file: pairs.csv}\n",
    )
    relation = load_catalogue([tmp_path / "own.yaml"]).relation("seat-country")
    assert relation.target.answers == ("England", "UK", "Norway")
    assert relation.truth == (("London", "England"), ("London", "UK"), ("Oslo", "Norway"))


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1)
    .map(lambda name: unicodedata.normalize("NFC", name).strip())
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
        pytest.param("a.json", b"9" * 5000, ["not valid JSON", "digits"], id="long number"),
        ("a.csv", b'"a\nb', ["not valid CSV"]),
        ("a.csv", b"Name;rank\nRome;4\n", ["semicolons", "commas"]),
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
        ("p.csv", "\n,\nSource,Target\nLondon,UK\nLondon,England\nOslo,Norway\n"),
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
        ("p.csv", "Rome;Italy\nOslo;Norway\n", ["semicolons", "commas"]),
        ("p.txt", "a\tb\nc d\n", ["line 2", "'c d'", "tab"]),
        ("p.txt", "", ["holds no pair"]),
    ],
)
def test_bad_pairs_are_refused(tmp_path, name, text, words):
    path = write(tmp_path / name, text)
    with pytest.raises(BadInput) as caught:
        read_pairs(path)
    one_line(caught.value, str(path), *words)
