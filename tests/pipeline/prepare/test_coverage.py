"""`lincorr relations check`, and what a run of many relations leaves out."""

import json
from pathlib import Path
from typing import Any

import pytest

from lincorr.errors import BadInput
from lincorr.model.files import ModelSpec, locate
from lincorr.model.load import load_tokenizer
from lincorr.prompts.tokens import token_classes, token_texts
from lincorr.prompts.trees import prompt_template
from pipeline.cli.main import main
from pipeline.config import RunConfig, load_config
from pipeline.prepare.coverage import coverage
from pipeline.prepare.prepare import prepare

OWN = """\
templates: {home: "{} lives in the city of", land: "{} lives in the country of", sum: "{}+1="}
relations:
  home-land:
    family: toy
    source: {template: home, answers: [Tokyo, Paris, Paris North, Xyzzy]}
    target: {template: land, answers: [Japan, France]}
    truth: [[Tokyo, Japan], [Paris North, France]]
  home-sum:
    family: toy
    source: {template: home, answers: [Tokyo, Paris]}
    target: {template: sum, answers: ["3", "4", "12"]}
  home-nowhere:
    family: toy
    source: {template: home, answers: [Tokyo, Paris]}
    target: {template: land, answers: [Qwghlm]}
  home-alone:
    family: toy
    source: {template: home, answers: [Tokyo, Paris]}
    target: {template: land, answers: [Japan]}
"""


def configured(toy_model: Path, folder: Path, relations: str, **more: str) -> RunConfig:
    own = folder / "own.yaml"
    own.write_text(OWN, "utf-8")
    values = {"model.source": str(toy_model), "relations": relations, "catalogue": str(own)}
    return load_config(None, values | more)


def test_each_side_is_counted(toy_model: Path, tmp_path: Path) -> None:
    known, summed, nowhere, _ = coverage(configured(toy_model, tmp_path, "family:toy"))
    source = known.source
    assert (source.whole, source.phrase, source.subword, source.columns) == (2, 1, 1, 2)
    assert (known.target.whole, known.truth, known.fits) == (2, 1, True)
    assert (summed.target.whole, summed.target.subword, summed.truth) == (2, 1, None)
    assert not nowhere.fits


def test_answers_of_several_tokens_count_if_that_is_set(toy_model: Path, tmp_path: Path) -> None:
    config = configured(toy_model, tmp_path, "home-land", multi_token="true", **{"subjects.count": "20"})
    (known,) = coverage(config)
    assert (known.source.whole, known.source.phrase, known.source.subword) == (2, 1, 1)
    inputs = prepare(config)
    assert len(inputs.relations[0].source) == known.source.columns
    assert inputs.notes[0].startswith("multi_token: ")


def test_the_check_is_a_table_or_json(toy_model: Path, tmp_path: Path, capsys: Any) -> None:
    configured(toy_model, tmp_path, "all")
    command = ["relations", "check", "--model", str(toy_model), "--relations", "family:toy"]
    command += ["--catalogue", str(tmp_path / "own.yaml")]
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["home-land", "home-sum", "home-nowhere", "home-alone"]
    assert rows[0]["source"] == {
        "template": "home", "text": "{} lives in the city of",
        "columns": 2, "whole": 2, "phrase": 1, "subword": 1,
    }  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "home-nowhere (!)" in shown
    assert "cannot be asked" in shown


def test_a_wrong_slot_in_a_catalogue_is_one_line(toy_model: Path, tmp_path: Path, capsys: Any) -> None:
    own = tmp_path / "bad.yaml"
    own.write_text('templates: {home: "somebody lives in"}', "utf-8")
    assert main(["relations", "check", "--model", str(toy_model), "--catalogue", str(own)]) == 2
    assert "templates.home: 'somebody lives in' has no slot" in capsys.readouterr().err


def test_of_many_relations_those_without_a_choice_are_left_out(toy_model: Path, tmp_path: Path) -> None:
    inputs = prepare(configured(toy_model, tmp_path, "family:toy", **{"subjects.count": "20"}))
    assert [relation.name for relation in inputs.relations] == ["home-land", "home-sum"]
    assert inputs.notes[0].startswith("Left out")
    assert inputs.notes[0].endswith("home-nowhere, home-alone.")


def test_one_of_a_single_answer_is_fitted_if_asked_for(toy_model: Path, tmp_path: Path) -> None:
    inputs = prepare(configured(toy_model, tmp_path, "home-alone", **{"subjects.count": "20"}))
    assert [relation.name for relation in inputs.relations] == ["home-alone"]
    assert inputs.notes == ()


def test_a_family_of_which_nothing_remains_is_refused(toy_model: Path, tmp_path: Path) -> None:
    config = configured(toy_model, tmp_path, "family:lonely")
    (tmp_path / "own.yaml").write_text(
        OWN.replace("  home-alone:\n    family: toy", "  home-alone:\n    family: lonely")
    )
    with pytest.raises(BadInput, match=r"relations: nothing remains; .*: home-alone"):
        prepare(config)


def test_a_relation_named_by_itself_is_not_left_out(toy_model: Path, tmp_path: Path) -> None:
    for asked in ("home-nowhere", "family:toy,home-nowhere"):
        with pytest.raises(BadInput, match="relation 'home-nowhere': target answers: none of the 1 answers"):
            prepare(configured(toy_model, tmp_path, asked))


def test_answers_behind_an_equals_sign_have_no_space(toy_model: Path, tmp_path: Path) -> None:
    inputs = prepare(configured(toy_model, tmp_path, "home-sum", **{"subjects.count": "20"}))
    tokenizer = load_tokenizer(toy_model, trust_remote_code=False)
    assert tokenizer.convert_ids_to_tokens(inputs.relations[0].target.ids.tolist()) == ["3", "4"]
    assert tokenizer.convert_ids_to_tokens(inputs.relations[0].source.ids.tolist()) == ["ĠTokyo", "ĠParis"]


@pytest.mark.real_model
def test_prompts_without_spaces_are_spliced_as_the_tokenizer_does(real_model: str) -> None:
    tokenizer = load_tokenizer(locate(ModelSpec(real_model)), trust_remote_code=False)
    texts = token_texts(tokenizer)
    classes = token_classes(tokenizer, texts)
    # a sign such as ")" may join the "+" behind it in a text of one's own; a spliced token stays itself
    words = [i for i, kind in enumerate(classes) if kind == "text" and texts[i][-1].isalpha()]
    for text in ("{}所居住的城市是", "用户{}の仕事は", "{}+1="):
        template = prompt_template(tokenizer, text)
        for token in words[::97]:
            whole = tokenizer.encode(text.replace("{}", texts[token]), add_special_tokens=False)
            assert whole == template.splice(token), texts[token]


@pytest.mark.real_model
def test_two_hundred_cities_have_a_known_country_with_those_of_several_tokens(real_model: str) -> None:
    counts = []
    for multi_token in ("false", "true"):
        values = {"model.source": real_model, "relations": "city-country", "multi_token": multi_token}
        [found] = coverage(load_config(None, values))
        counts.append(found.truth or 0)
        assert found.source.whole == 134
    assert counts[0] == 127
    assert counts[1] >= 200
