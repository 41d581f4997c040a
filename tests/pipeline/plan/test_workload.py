"""A workload is that of the run that it stands for."""

from pathlib import Path

import yaml

from lincorr.testing import CITIES, COUNTRIES
from pipeline.config import load_config
from pipeline.plan import workload as planner
from pipeline.prepare.prepare import prepare
from pipeline.run import Run
from tests.pipeline.plan.configurations import planned


def test_words_and_tokens_agree_for_a_toy(flags, toy_model, tmp_path):
    """Its tokenizer has every word of the templates as one token."""
    catalogue = Path(flags["catalogue"])
    known = yaml.safe_load(catalogue.read_text())
    known["relations"]["toy"]["asked"] = ["{} lives in the country of", "the country of {} in"]
    catalogue.write_text(yaml.safe_dump(known))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text((toy_model / "config.json").read_text())
    exact, rough = planned(flags), planned(flags | {"model.source": str(alone)})
    assert (exact.tokenized, rough.tokenized) == (True, False)
    assert exact.columns == rough.columns
    assert exact.own_tokens == rough.own_tokens
    assert exact.data_bytes == rough.data_bytes
    prompts = 2 * 2 * len(CITIES)  # each alone, and after examples
    words = 2 * len(CITIES) * (6 + 2)  # X lives in the country of, X in: what stands before is computed once
    for work in (exact, rough):
        assert [(asked.n_prompts, asked.tokens) for asked in work.asked] == [(prompts, words)]
    assert exact.asked_bytes == rough.asked_bytes == 4 * prompts * len(COUNTRIES)


def test_an_estimate_of_a_family_is_of_what_is_fitted(flags, toy_model):
    """What a run leaves out is left out, and answers behind "=" are tokens without a space."""
    asked = flags | {"relations": "family:arithmetic,family:attribute,toy"}
    found, inputs = planned(asked), prepare(load_config(None, asked))
    assert {name for name, _ in found.fits} == {relation.name for relation in inputs.relations}
    assert found.columns == {name: len(columns) for name, columns in inputs.columns.items()}
    assert found.columns["plus-1"] == 10


def test_remembered_batch_sizes_are_looked_for_where_none_is_set_and_none_is_in_the_store(flags, monkeypatch):
    looked: list[Path | None] = []
    monkeypatch.setattr(planner, "is_remembered", looked.append)
    found = Run(load_config(None, {key: value for key, value in flags.items() if "batch_tokens" not in key}))
    assert found.plan().work.tries_batches
    assert len(looked) == 1
    Run(load_config(None, flags)).extract()  # with those that are set
    assert not found.plan().work.tries_batches
    assert len(looked) == 1
