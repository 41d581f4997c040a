"""Results as JSON and back: golden files of this schema version and of an older one."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lincorr.errors import BadInput
from lincorr.scores.documents import SCHEMA, from_document, from_json, to_document, to_json
from lincorr.scores.relation_scores import ColumnScore, HitRates, Hits, Shares
from lincorr.scores.results import Results, read_results
from lincorr.scores.study import Generalisation

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / f"report-{SCHEMA}.json"
HITS = Hits(HitRates(0.1, 0.2, 0.3, of=9, chance=Shares(0.01, 0.02, 0.03)), None)


def test_a_report_is_read_and_written_to_the_last_digit() -> None:
    """A schema change fails here: raise `SCHEMA`, and add a golden file of the new version."""
    results = read_results(GOLDEN)
    assert json.dumps(to_document(results), ensure_ascii=False, indent=1) + "\n" == GOLDEN.read_text("utf-8")
    [relation] = results.relations
    fit = relation.fit("vocabulary-ridge")
    assert fit is not None
    stored = json.loads(GOLDEN.read_text("utf-8"))["relations"][0]["fits"][1]
    assert fit.hit("influenced target", 1) == stored["hits"]["influenced target"]["1"]
    assert results.subjects.kind == "vocabulary"


def test_a_report_of_an_earlier_version_is_refused_in_one_line() -> None:
    with pytest.raises(BadInput) as refused:
        read_results(DATA / "report-without-schema.json")
    words = str(refused.value)
    assert "report-without-schema.json" in words
    assert f"has no schema version, and this lincorr reads version {SCHEMA}" in words
    assert "run `lincorr report`" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("text", ["[]", "{", '{"schema": 99}', None])
def test_what_is_no_report_is_refused_in_one_line(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput) as refused:
        read_results(path)
    assert "report.json" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"title": None}, "title is NoneType, not str"),
        ({"titel": "x"}, "titel is unknown"),
        ({"relations": [{"name": "a"}]}, "relations[0].family is missing"),
        ({"subjects": []}, "subjects is list, not an object"),
        ({"seconds": {"fit": True}}, "seconds.fit is bool, not float"),
        ({"versions": ["1"]}, "versions is list"),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], why: str) -> None:
    document = json.loads(GOLDEN.read_text("utf-8")) | changes
    with pytest.raises(BadInput) as refused:
        from_document(Results, document, "results: 'x'", "run it again")
    assert why in str(refused.value)


def test_numbers_that_json_cannot_express_are_unknown() -> None:
    column = ColumnScore(" Paris", math.nan, math.inf)
    assert to_json(column) == {"token": " Paris", "r": None, "spearman": None}
    assert from_json(ColumnScore, to_json(column)) == replace(column, r=None, spearman=None)


def test_keys_that_are_no_python_names_keep_their_spelling() -> None:
    document = to_json(HITS)
    assert document["influenced target"]["5"] == 0.3
    assert document["influencing source"] is None
    assert from_json(Hits, document) == HITS


def test_a_part_that_is_optional_is_left_out() -> None:
    found = Generalisation((), {}, paper=Generalisation((), {}))
    document = to_json(found)
    assert "paper" not in document["paper"]
    assert from_json(Generalisation, document) == found


@pytest.mark.parametrize("direction", ["influenced target", "influencing source"])
def test_rates_of_a_direction(direction: str) -> None:
    rates = HITS.rates(direction)
    assert (rates and rates.at(3)) == (0.2 if direction == "influenced target" else None)
