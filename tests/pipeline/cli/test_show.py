"""`lincorr show`: the strongest links of a word."""

import json
import shutil

import pytest
import yaml

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.cli.toy import write_catalogue


def test_show_prints_the_strongest_targets(printed, with_store):
    (found,) = json.loads(printed("show", "Tokyo", *with_store, "--top", 3, "--json"))
    weights = [link["weight"] for link in found["links"]]
    assert (found["word"], found["map"], len(weights)) == (" Tokyo", "vocabulary-ridge", 3)
    assert weights == sorted(weights, reverse=True)
    assert {link["token"].strip() for link in found["links"]} <= set(COUNTRIES)


def test_show_marks_what_is_right(printed, with_store):
    (found,) = json.loads(printed("show", "Tokyo", *with_store, "--top", 10, "--json"))
    assert [link["token"] for link in found["links"] if link["right"]] == [" Japan"]


def test_show_looks_from_the_target_too(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--map", "domain", "--top", 10, "--json")
    (found,) = json.loads(printed(*arguments))
    assert {link["token"].strip() for link in found["links"]} == set(CITIES)
    assert [link["token"] for link in found["links"] if link["right"]] == [" Tokyo"]


def test_show_ranks_the_answers_among_all_sources_of_a_full_vocabulary_map(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--map", "vocabulary-ridge", "--top", 99, "--json")
    (found,) = json.loads(printed(*arguments))
    assert {link["token"].strip() for link in found["links"]} == set(CITIES)
    weights = [link["weight"] for link in found["links"]]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("word", ["Tokyo", " Tokyo", "tokyo", "TOKYO"])
def test_show_finds_a_word_however_it_is_written(word, printed, with_store):
    (found,) = json.loads(printed("show", word, *with_store, "--map", "domain", "--json"))
    assert found["word"] == " Tokyo"


def test_show_says_so_when_it_shows_another_word(printed, with_store):
    (found,) = json.loads(printed("show", "Tokio", *with_store, "--json"))
    assert (found["word"], found["note"]) == (" Tokyo", "no token 'Tokio'; showing ' Tokyo'")
    assert "no token 'Tokio'; showing ' Tokyo'" in printed("show", "Tokio", *with_store).splitlines()
    (same,) = json.loads(printed("show", "tokyo", *with_store, "--json"))
    assert (same["note"], same["links"]) == (None, found["links"])


@pytest.mark.parametrize(
    ("word", "near"), [("Tokiu", "' Tokyo'"), ("Rom", "' Rome'"), ("Oslow-Delhi", "' Oslo'")]
)
def test_show_suggests_the_nearest_words(word, near, refusal, with_store):
    line = refusal("show", word, *with_store, "--map", "domain")
    assert f"{word!r} is no source token; near it are " in line
    assert near in line


def test_show_refuses_no_word(refusal, with_store):
    """As a script's empty variable gives it; a blank is a token."""
    assert "word: it is empty" in refusal("show", "", *with_store)


def test_show_finds_the_first_token_of_a_longer_name(printed, flags, tmp_path):
    longer = ("Rome Mountain", *CITIES[:4], *CITIES[5:])
    write_catalogue(tmp_path / "toy.yaml", cities=longer)
    printed("run", *flags, "--json")
    (found,) = json.loads(printed("show", "rome mountain", *flags, "--json"))
    assert (found["word"], found["note"]) == (
        " Rome",
        "'Rome Mountain' is not one token; showing ' Rome', its first",
    )


def test_show_prefers_the_relations_whose_answer_the_word_is(printed, flags, tmp_path):
    both = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    toy = both["relations"]["toy"]
    both["relations"]["back"] = {
        "source": toy["target"],
        "target": toy["source"],
        "truth": [pair[::-1] for pair in toy["truth"]],
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(both))
    flags = [*flags, "--relations", "toy,back"]
    printed("run", *flags, "--json")

    def relations(word: str) -> list[str]:
        return [found["relation"] for found in json.loads(printed("show", word, *flags, "--json"))]

    assert (relations("Tokyo"), relations("Japan"), relations("lives")) == (
        ["toy"],
        ["back"],
        ["toy", "back"],
    )


def test_show_looks_among_every_token_for_sources(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--all-sources", "--top", 400, "--json")
    (found,) = json.loads(printed(*arguments))
    assert (found["among"], found["of"], len(found["links"])) == ("every token", 376, 376)
    assert len({link["token"] for link in found["links"]}) == 376  # bytes of no character have their ids
    byte = next(link["token"] for link in found["links"] if "\ufffd (token " in link["token"])
    (same,) = json.loads(printed("show", byte, *with_store, "--json"))
    assert (same["word"], same["note"]) == (byte, None)
    (few,) = json.loads(printed("show", "Japan", *with_store, "--target", "--top", 99, "--json"))
    assert (few["among"], few["of"]) == ("the answers", 10)
    answers = [link for link in found["links"] if link["token"] in {" " + city for city in CITIES}]
    assert [link["token"] for link in answers] == [link["token"] for link in few["links"]]
    weights = [link["weight"] for link in few["links"]]
    assert [link["weight"] for link in answers] == pytest.approx(weights)


def test_show_refuses_every_source_of_a_source_or_of_the_answers_map(refusal, with_store):
    assert "--all-sources" in refusal("show", "Tokyo", *with_store, "--all-sources")
    arguments = ("show", "Japan", *with_store, "--target", "--all-sources", "--map", "domain")
    assert "has no sources but the answers" in refusal(*arguments)


def test_show_refuses_a_map_that_is_not_kept(refusal, with_store):
    assert "there are domain, domain-ridge" in refusal("show", "Tokyo", *with_store, "--map", "best")


def test_show_needs_only_the_store(printed, with_store):
    arguments = ("show", "Tokyo", "--store", "run.zarr", "--catalogue", "toy.yaml", "--json")
    few = ("--subjects-count", 4)  # the toy model knows fewer words than the default asks for
    assert json.loads(printed(*arguments, *few))[0]["relation"] == "toy"


def test_show_prints_a_table(printed, with_store):
    table = printed("show", "Tokyo", *with_store, "--top", 10)
    assert "' Japan' ✓" in table


def test_a_strangers_store_runs_no_code_and_says_nothing_of_where_to_write(
    refusal, finished, toy_model, tmp_path
):
    store, model = tmp_path / "theirs.zarr", tmp_path / "model"
    shutil.copytree(finished, store)
    shutil.copytree(toy_model, model)
    for name, changes in {
        "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.C"}},
        "tokenizer_config.json": {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.T", None]}},
    }.items():
        (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | changes))
    (model / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    state = json.loads((store / "zarr.json").read_text())
    settings = state["attributes"]["lincorr"]["settings"]
    settings["model"] |= {"source": str(model), "trust_remote_code": True, "cache": str(tmp_path / "cache")}
    settings |= {"report": {"folder": str(tmp_path / "page")}, "cluster": {"address": "tcp://theirs:8786"}}
    (store / "zarr.json").write_text(json.dumps(state))
    for verb in (["show", "Tokyo"], ["hubs"], ["plan"], ["plan", "--gpus", "1"], ["evaluate"], ["report"]):
        assert "set model.trust_remote_code" in refusal(*verb, "--store", store)
