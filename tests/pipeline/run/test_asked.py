"""What the model says when it is asked outright, against Hugging Face's own logits and plain loops."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lincorr.errors import LincorrError
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.extract import asked as asked_stage
from pipeline.extract import stage
from pipeline.extract.asked import AskTask
from pipeline.runtime.console import Narrator
from tests.commands import flags_of, json_of
from tests.pipeline.run.runner import RELATIONS, TEMPLATES, VOCABULARY, WIDTH, Reference, Runner, runner
from tests.plots import blank_plots
from tests.stores import array

PROMPTS = ["The city of {} is in the country of", "{} in"]
# "Rome in Italy" is no answer that is asked about: its source is several tokens
TRUTH = [*zip(CITIES, COUNTRIES, strict=True), ("New Rome", "Italy"), ("Old Paris", "France")]
ASKED = {"asked": PROMPTS, "truth": [list(pair) for pair in TRUTH]}
TOLD = ["New Rome", "Italy", "Old Paris", "France"]


def with_prompts(run: Runner, **changes: object) -> Runner:
    """Have the relation asked outright in the catalogue of a runner."""
    answers: dict[str, Any] = {"source": {"template": "city", "answers": [*CITIES, "New Rome", "Old Paris"]}}
    toy: Any = RELATIONS["toy"]
    relations = {"toy": {**toy, **answers, **ASKED, **changes}}
    path = run.folder / "toy.yaml"
    path.write_text(yaml.safe_dump({"templates": TEMPLATES, "relations": relations}))
    return run


def texts(source: str) -> list[str]:
    """What is asked about a source, question by question."""
    alone = [prompt.replace("{}", source) for prompt in PROMPTS]
    told = [[p.replace("{}", a) + f" {b}. " for a, b in (TOLD[:2], TOLD[2:])] for p in PROMPTS]
    return [*alone, *("".join(before) + last for before, last in zip(told, alone, strict=True))]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    """A whole run, only to be read."""
    run = with_prompts(runner(tmp_path_factory.mktemp("asked"), toy_model))
    with blank_plots():
        run.document = run("run")
    return run


@pytest.fixture
def again(asked: Runner, run: Runner) -> Runner:
    shutil.copytree(asked.folder, run.folder, dirs_exist_ok=True)
    run.document = asked.document
    return run


@pytest.fixture(scope="module")
def right(reference, ids) -> np.ndarray:
    """Logits (question, source, target), one prompt at a time."""
    by_city = [reference.of_texts(texts(city))[:, ids["country"]] for city in CITIES]
    return np.stack(by_city, axis=1)


def choose_passes(monkeypatch, passes):
    """Have checks of the model end with another strategy of forward passes."""
    checked = stage._checked
    monkeypatch.setattr(stage, "_checked", lambda *given: replace(checked(*given), passes=passes))


@pytest.mark.parametrize("passes", ["trunk", "trees", "plain", "whole"])
def test_answers_are_the_models_own_logits(passes, run, right, counted, monkeypatch):
    choose_passes(monkeypatch, passes)
    assert with_prompts(run)("extract", subjects_count=20)["asked"] == 4 * len(CITIES)
    np.testing.assert_allclose(run.store.asked.load("toy"), right, atol=1e-4)
    assert run.store.verify() == []
    assert sum(map(sum, counted.steps)) == 2 * 20 + 4 * len(CITIES)
    counted.assert_right()


def test_they_are_scored_as_w_is_by_a_plain_loop(asked, right):
    found = asked.document["relations"][0]["asked"]
    assert [(one["asked"], one["examples"]) for one in found] == [
        *((prompt, []) for prompt in PROMPTS),
        *((prompt, [TOLD[:2], TOLD[2:]]) for prompt in PROMPTS),
    ]
    for one, logits in zip(found, right, strict=True):
        hits = [int(np.argmax(row)) == i for i, row in enumerate(logits)]
        less = logits - logits.mean(axis=0)
        calibrated = [int(np.argmax(row)) == i for i, row in enumerate(less)]
        back = logits - logits.mean(axis=1, keepdims=True)
        sources = [int(np.argmax(back[:, i])) == i for i in range(len(CITIES))]
        assert one["hits"]["influenced target"]["1"] == pytest.approx(np.mean(hits))
        assert one["calibrated"]["1"] == pytest.approx(np.mean(calibrated))
        assert one["hits"]["influencing source"]["1"] == pytest.approx(np.mean(sources))
        assert one["hits"]["influenced target"]["of"] == len(CITIES)


def test_a_plan_counts_what_is_then_asked(run, monkeypatch):
    with_prompts(run)
    planned = run("plan")
    totals, plain = {}, Narrator.progress

    def progress(narrator: Narrator, what: str, total: int, of: str) -> Any:
        totals[what] = total
        return plain(narrator, what, total, of)

    monkeypatch.setattr(Narrator, "progress", progress)
    made = run("extract")
    assert totals == {"Extracting": planned["prompts_needed"], "Asking outright": planned["asked_needed"]}
    assert (made["prompts"], made["asked"]) == (planned["prompts_needed"], planned["asked_needed"])
    assert planned["bytes_to_write"] == made["bytes_written"] + 4 * WIDTH * VOCABULARY  # and the head
    (on_a_gpu,) = json_of("plan", *flags_of(run.flags), "--gpus=1")
    written = {stage["name"]: stage["store_bytes"] for stage in on_a_gpu["stages"]}
    assert written["extract"] + written["ask"] == planned["bytes_to_write"]
    assert written["ask"] == run.store.asked.load("toy").nbytes
    shorter = run("plan", subjects_count=40)  # of the same store
    assert {shorter[name] for name in ("asked_needed", "asked_tokens", "flops", "start_seconds")} == {0}


def test_a_store_that_lacks_only_answers_is_given_only_those(rerun):
    before = rerun.arrays()
    with_prompts(rerun)
    assert rerun("plan")["asked_needed"] == 4 * len(CITIES)
    assert "asked" not in rerun("evaluate")["relations"][0]  # and is scored without a ceiling until then
    made = rerun("extract")
    assert (made["shards"], made["prompts"], made["asked"]) == (0, 0, 4 * len(CITIES))
    assert rerun("plan")["asked_needed"] == 0
    assert rerun("extract")["asked"] == 0
    for name, values in rerun.arrays().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    assert len(rerun("evaluate")["relations"][0]["asked"]) == 4


@pytest.mark.parametrize("lost", ["asked/toy/logits/c/2/0/0", "asked/toy/zarr.json"])
def test_damaged_answers_are_named_and_asked_again(lost, again, capsys):
    store = Path(str(again.flags["store"]))
    before = array(store, "asked/toy/logits")
    (store / lost).unlink()
    assert main(["store", "verify", str(store)]) == 1
    assert "asked/toy" in capsys.readouterr().out
    with pytest.raises(LincorrError, match="lincorr extract"):
        again.store.asked.load("toy")
    assert again("extract")["asked"] == 4 * len(CITIES)
    assert again.store.verify() == []
    np.testing.assert_array_equal(array(store, "asked/toy/logits"), before)


def test_answers_to_some_of_the_questions_are_none(again):
    url = str(again.flags["store"])
    before = array(Path(url), "asked/toy/logits")
    answers = LogitStore.open(url, write=True).asked
    answers.begin("toy", before.shape, answers.asked("toy"), "digest")
    answers.write("toy", 1, before[1:3], "digest")  # and the run is killed
    assert LogitStore.open(url).asked.inputs("toy") is None
    assert again.store.verify() == []
    with pytest.raises(LincorrError, match="are missing"):
        answers.finish("toy", "digest")
    assert again("extract")["asked"] == 4 * len(CITIES)
    np.testing.assert_array_equal(array(Path(url), "asked/toy/logits"), before)


def test_the_terminal_shows_the_ceiling(again, capsys):
    assert main(["evaluate", *flags_of(again.flags)]) == 0
    table = capsys.readouterr().out
    assert "toy: the model asked outright" in table
    best = max(one["hits"]["influencing source"]["1"] for one in again.document["relations"][0]["asked"])
    line = next(line for line in table.splitlines() if line.strip().startswith("the best of these"))
    assert line.split()[-1] == f"{best:.2f}"


def test_tables_and_the_store_say_what_was_asked(asked):
    found = asked.document["relations"][0]["asked"]
    rows = list(csv.DictReader((asked.folder / "run-report" / "scores.csv").read_text("utf-8").splitlines()))
    best = max(one["hits"]["influencing source"]["1"] for one in found)
    assert {float(row["influencing_source_ceiling@1"]) for row in rows} == {best}
    assert json_of("store", "info", str(asked.flags["store"]))["asked"] == {"toy": 4}


def test_other_prompts_are_asked_anew_and_scored_anew(again):
    with_prompts(again, asked=PROMPTS[:1])
    assert again("extract")["asked"] == 2 * len(CITIES)
    assert len(again("evaluate")["relations"][0]["asked"]) == 2


def test_a_task_that_outlives_its_run_writes_nothing_into_what_was_begun_since(again, monkeypatch):
    """A cluster's worker goes on with a task when its run was interrupted."""
    kept: list[AskTask] = []

    def interrupted(task: AskTask, _: object = None) -> None:
        kept.append(task)
        raise KeyboardInterrupt

    ask = asked_stage.ask
    monkeypatch.setattr(asked_stage, "ask", interrupted)
    for prompts in (PROMPTS[:1], PROMPTS[1:]):
        with_prompts(again, asked=prompts)
        assert main(["extract", *flags_of(again.flags)]) == 130
    old, new = kept
    with pytest.raises(LincorrError, match=r"asked/toy.* were begun anew; this task's run has ended"):
        ask(old)
    store = Path(str(again.flags["store"]))
    assert np.isnan(array(store, "asked/toy/logits")).all()
    ask(new)
    assert np.isfinite(array(store, "asked/toy/logits")).all()


LONG = ["Italy Norway", "Peru of India", "Japan in Peru in Peru", *COUNTRIES[1:4]]


@pytest.mark.parametrize("passes", ["trunk", "trees", "plain", "whole"])
def test_answers_of_several_tokens_are_sums_of_log_probabilities(
    passes, run, reference, counted, monkeypatch
):
    choose_passes(monkeypatch, passes)
    target = {"template": "country", "answers": LONG}
    with_prompts(run, target=target, truth=[list(pair) for pair in zip(CITIES, LONG, strict=False)])
    run("extract", subjects_count=20, multi_token="true")
    assert sum(map(sum, counted.steps)) == 2 * 20 + 4 * len(CITIES)
    counted.assert_right()
    found = run.store.asked.load("toy")
    told = "".join(f"{city} in {country}. " for city, country in zip(CITIES[:2], LONG[:2], strict=True))
    for question, prompt in ((1, "{} in"), (3, told + "{} in")):
        for i, city in enumerate(CITIES[:3]):
            right = [log_probability(reference, prompt.replace("{}", city), name) for name in LONG]
            np.testing.assert_allclose(found[question, i], right, atol=1e-3)


def log_probability(reference: Reference, prompt: str, answer: str) -> float:
    """Of all tokens of an answer after a prompt, one after the other, each in a forward pass of its own."""
    ids, total = reference.tokenizer.encode(prompt), 0.0
    for token in reference.tokenizer.encode(f" {answer}"):
        logits = torch.from_numpy(reference.logits([ids])[0])
        total += float(torch.log_softmax(logits, dim=0)[token])
        ids.append(token)
    return total
