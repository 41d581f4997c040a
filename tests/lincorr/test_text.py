"""Lists of users: which lines they have, in which Unicode form they are compared, and what is refused."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tokenizers import AddedToken
from tokenizers.normalizers import NFD

from lincorr.errors import BadInput
from lincorr.prompts.columns import find_columns
from lincorr.prompts.subjects import read_subjects, read_token_ids, split_rows
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.lists import read_answers, read_pairs
from lincorr.testing import toy_tokenizer
from lincorr.text import MISSING_TEXT

NO_LINE_ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
NAMES = [f"New{char}York" for char in NO_LINE_ENDS]

READERS: list[Callable[[Path], Any]] = [read_subjects, read_answers, read_pairs]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_every_list_has_the_same_lines(tmp_path, end, bom):
    (tmp_path / "a.txt").write_bytes((bom + end.join([*NAMES, ""])).encode())
    (tmp_path / "pairs.txt").write_bytes((bom + end.join(f"{name}\tRome" for name in NAMES)).encode())
    (tmp_path / "ids.txt").write_bytes((bom + end.join(["3", "", "5"])).encode())
    assert read_subjects(tmp_path / "a.txt") == NAMES
    assert list(read_answers(tmp_path / "a.txt")) == NAMES
    assert [source for source, _ in read_pairs(tmp_path / "pairs.txt")] == NAMES
    assert read_token_ids(tmp_path / "ids.txt") == [3, 5]


# --- Unicode forms ------------------------------------------------------------------------------------


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json"])
def test_answers_and_truth_are_the_same_in_either_form(tmp_path, suffix):
    names = ["São", "Zürich", "東京", "Đà", "Å"]
    for folder, form in ((tmp_path / "composed", str), (tmp_path / "decomposed", decomposed)):
        folder.mkdir()
        given = [form(name) for name in names]
        pairs = [[form(name), "Rome"] for name in names]
        texts = {
            ".json": (json.dumps(given), json.dumps(pairs)),
            ".csv": ("\n".join(given), "\n".join(map(",".join, pairs))),
            ".txt": ("\n".join(given), "\n".join(map("\t".join, pairs))),
        }[suffix]
        for file, text in zip(("a", "p"), texts, strict=True):
            (folder / file).with_suffix(suffix).write_text(text, "utf-8")
        assert read_answers(folder / f"a{suffix}") == tuple(names)
        assert read_pairs(folder / f"p{suffix}") == tuple((name, "Rome") for name in names)


def test_a_name_finds_its_token_where_the_tokenizer_takes_letters_apart():
    tokenizer = toy_tokenizer()
    tokenizer.backend_tokenizer.normalizer = NFD()
    tokenizer.add_tokens([AddedToken(decomposed("é"), normalized=True)])
    token = tokenizer.convert_tokens_to_ids(decomposed("é"))
    assert find_columns(tokenizer, ["é"], "").ids.tolist() == [token]


@pytest.mark.parametrize("seed", range(5))
def test_twins_of_two_forms_are_on_one_side_of_the_split(seed):
    names = [f"{letter}{n}" for letter in "éüåñ" for n in range(10)]
    fit, test = split_rows([*names, *map(decomposed, names)], "grouped", seed=seed)
    sides = [set(rows % len(names)) for rows in (fit, test)]
    assert sides[0].isdisjoint(sides[1])
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, test])), np.arange(2 * len(names)))


def test_sides_of_one_distinct_subject_are_refused():
    for rule in ("grouped", "even-odd"):
        with pytest.raises(BadInput, match="leave 1 to fit and 1 to test, each counted once"):
            split_rows(["Anna", "Bob"] * 20, rule)


# --- what no text may hold ----------------------------------------------------------------------------

HOSTILE = {"a\0b": "NUL", "a\ud800b": "surrogate", MISSING_TEXT: "missing"}


@pytest.mark.parametrize(
    ("reader", "text"),  # a text file that is UTF-8 has no surrogates
    [(r, text) for r in READERS for text in HOSTILE if r is not read_subjects or "\ud800" not in text],
    ids=lambda part: ascii(getattr(part, "__name__", part)),
)
def test_a_list_names_the_entry_that_cannot_be(tmp_path, reader, text):
    path = tmp_path / "list.json"
    entries = ["Rome", text]
    if reader is read_subjects:
        path = tmp_path / "list.txt"
        path.write_text("\n".join(entries), "utf-8")
    else:
        path.write_text(json.dumps(entries if reader is read_answers else [["Oslo", one] for one in entries]))
    with pytest.raises(BadInput) as caught:
        reader(path)
    assert all(part in str(caught.value) for part in (str(path), ascii(text)[1:5], HOSTILE[text]))


def catalogue(**changes: Any) -> dict[str, Any]:
    side = {"template": "mine", "answers": ["Rome"]}
    relation = {"family": "f", "source": side, "target": side, "truth": [["Rome", "Rome"]]}
    return {"templates": {"mine": "{} is in"}, "relations": {"a-b": relation | changes}}


@pytest.mark.parametrize(
    ("place", "text"),  # a template has a slot besides
    [
        *((place, text) for place in ("family", "answers", "truth") for text in HOSTILE),
        *(("template", text) for text in HOSTILE if text != MISSING_TEXT),
    ],
    ids=ascii,
)
def test_a_catalogue_names_the_entry_that_cannot_be(tmp_path, place, text):
    content = catalogue()
    relation = content["relations"]["a-b"]
    if place == "template":
        content["templates"]["mine"] = "{} " + text
    elif place == "family":
        relation["family"] = text
    elif place == "answers":
        relation["source"] = {"template": "mine", "answers": ["Rome", text]}
    else:
        relation["truth"] = [["Rome", text]]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput) as caught:
        load_catalogue([path])
    assert all(part in str(caught.value) for part in (str(path), place, HOSTILE[text]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["zarr.json", "Zarr.JSON", "a" * 101, "é"])
@pytest.mark.parametrize("section", ["templates", "relations"])
def test_a_name_that_cannot_be_a_files_is_refused(tmp_path, section, name):
    content = catalogue()
    content[section] |= {name: next(iter(content[section].values()))}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput, match=rf"own\.yaml: {section}: the name .* cannot be used in file names"):
        load_catalogue([path])
