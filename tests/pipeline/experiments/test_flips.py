"""Flips of a toy model, against NumPy and a model of transformers that is changed by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.readout import Readout
from lincorr.scores.results import Results
from lincorr.solvers.result import HiddenMap
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, toy_relation
from pipeline.cli.main import main
from pipeline.experiments.flips import CHANGES, Cases, FlipOptions, choose_cases, directions_of, layers_of
from pipeline.run import Run
from pipeline.runtime.lock import lock_path
from tests.pipeline.experiments.finished import TEXTS, finished_run


@pytest.fixture(scope="module")
def own(toy_model: Path) -> dict[str, str]:
    """What a toy model, which knows nothing, answers of each city: that is made the truth."""
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    model = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32)
    prompts = torch.tensor([tokenizer.encode(f" {city} lives in the country of") for city in CITIES])
    columns = [tokenizer.encode(f" {country}")[0] for country in COUNTRIES]
    with torch.no_grad():
        answers = model(prompts).logits[:, -1, columns].argmax(dim=1)
    return {city: COUNTRIES[int(answer)] for city, answer in zip(CITIES, answers, strict=True)}


@pytest.fixture(scope="module")
def flags(toy_model: Path, own: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("flips")
    relations = {
        "toy": toy_relation("city", "country") | {"truth": [list(pair) for pair in own.items()]},
        "lonely": toy_relation("city", "country") | {"truth": [list(pair) for pair in own.items()][:1]},
        "unknown": {key: part for key, part in toy_relation("city", "country").items() if key != "truth"},
    }
    return finished_run(folder, toy_model, relations, "toy", "lonely")


@pytest.fixture
def flips(flags: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    def flips() -> dict[str, Any]:
        capsys.readouterr()
        assert main(["flips", *flags, "--json"]) == 0
        [found] = json.loads(capsys.readouterr().out)
        document: dict[str, Any] = found
        return document

    return flips


def test_they_are_those_of_a_model_that_is_changed_by_hand(
    flips: Callable[[], dict[str, Any]], flags: list[str], toy_model: Path, own: dict[str, str]
) -> None:
    found = flips()
    assert (found["known"], found["right"], found["subjects"]) == (len(CITIES), 1.0, len(CITIES))
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    model = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32)
    fitted = LogitStore.open(flags[flags.index("--store") + 1]).maps.load("toy", "vocabulary-ridge")
    assert fitted.hidden is not None
    cities, countries = ([tokenizer.encode(f" {w}")[0] for w in words] for words in (CITIES, COUNTRIES))
    answers = np.array([COUNTRIES.index(own[city]) for city in CITIES])
    cases = choose_cases(answers, np.ones(len(CITIES), dtype=bool), FlipOptions())
    source, prompts = (
        torch.tensor([[cities[i], *tokenizer.encode(TEXTS[name].removeprefix("{}"))] for i in cases.subjects])
        for name in ("city", "country")
    )
    head = model.lm_head.weight.detach().double().numpy()
    centred = head[countries] - head[countries].mean(axis=0)
    changes = (centred[cases.wanted] - centred[cases.own]) @ fitted.hidden.core.T
    for row in found["layers"]:
        layer = model.model.layers[int(row["at"]) - 1]

        def move(_module: Any, _given: Any, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            by = torch.from_numpy(changes) / model.model.norm.weight
            length = states[:, -1].norm(dim=1, keepdim=True)
            states[:, -1] += (by * length / by.norm(dim=1, keepdim=True)).float()
            return output

        hook = layer.register_forward_hook(move)
        with torch.no_grad():
            now = model(prompts).logits[:, -1, countries].argmax(dim=1).numpy()
        hook.remove()
        assert row["wanted"]["map"] == pytest.approx(np.mean(now == cases.wanted))
        assert row["changed"]["map"] == pytest.approx(np.mean(now != cases.own))
        assert set(row["wanted"]) == set(CHANGES)
    read = {row["at"]: row["wanted"]["map"] for row in found["readout"]}
    with torch.no_grad():
        states = model.model(source).last_hidden_state[:, -1].double().numpy()
    length = np.linalg.norm(states - fitted.hidden.source_mean, axis=1) / np.linalg.norm(changes, axis=1)
    for norm, share in read.items():
        named = ((states + norm * changes * length[:, None]) @ head[cities].T).argmax(axis=1)
        right = [own[CITIES[i]] == COUNTRIES[w] for i, w in zip(named, cases.wanted, strict=True)]
        assert share == pytest.approx(np.mean(right))


def test_they_are_stored_and_shown(
    flips: Callable[[], dict[str, Any]],
    flags: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
) -> None:
    first = flips()
    monkeypatch.setattr("pipeline.experiments.flips.count_flips", None)
    assert flips() == first
    assert main(["flips", *flags]) == 0
    shown = capsys.readouterr().out
    assert "flips: the target's prompt, in the model" in shown
    assert main(["flips", *flags, "--relations", "unknown"]) == 2
    assert "relation 'unknown': no right target is known" in capsys.readouterr().err


def test_nothing_is_changed_where_one_source_is_known(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flips", *flags, "--relations", "lonely"]) == 0  # and no division by zero is warned of
    assert "Nothing is changed: fewer than three answers are right" in capsys.readouterr().out


def test_cases_want_what_another_subject_has() -> None:
    own = np.array([0, 0, 1, 2, 3, 3, 1])
    right = np.array([1, 1, 1, 1, 0, 0, 0], dtype=bool)
    cases = choose_cases(own, right, FlipOptions(subjects=3))
    assert len(cases.subjects) == 3
    assert right[np.concatenate([cases.subjects, cases.donors])].all()
    assert own[cases.subjects].tolist() == cases.own.tolist()
    assert own[cases.donors].tolist() == cases.wanted.tolist()
    for answers in zip(cases.own, cases.wanted, cases.third, strict=True):
        assert len(set(answers)) == 3
    assert len(choose_cases(own, right & (own < 2), FlipOptions()).subjects) == 0  # two answers only


def test_the_map_is_turned_round_with_the_least_change_of_the_sources_logits() -> None:
    """Against a least-norm solution over all tokens of a small vocabulary."""
    rng = np.random.default_rng(0)
    source, target, between = (rng.normal(size=shape) for shape in ((40, 6), (5, 6), (6, 6)))
    core = np.linalg.pinv(source.T @ source) @ between
    hidden = HiddenMap(between, np.zeros(6), core, np.zeros(6), Readout(target))
    cases = Cases(*(np.array([i]) for i in (0, 1, 2, 3, 4)))
    found = directions_of(hidden, Readout(target), cases, FlipOptions())
    # z = E1 Δ of least norm with a given movement of the difference: z = pinv of a row, on the logits' span
    row = (target[3] - target[2]) @ between.T @ np.linalg.pinv(source)
    least = np.linalg.pinv(row[None])[:, 0]
    logits = source @ found["map"][0]
    np.testing.assert_allclose(logits / np.linalg.norm(logits), least / np.linalg.norm(least), atol=1e-9)
    spread = found["map-hidden"][0] @ target.T
    np.testing.assert_allclose(spread, np.full(5, spread[0]), atol=1e-9)  # no target is nearer than another
    assert np.ptp(found["map"][0] @ target.T) > 0.01


@pytest.mark.parametrize(("targets", "hidden"), [(6, True), (7, False), (40, False)])
def test_nothing_is_hidden_from_more_targets_than_the_state_has_dimensions(
    targets: int, hidden: bool
) -> None:
    """Their rows about the mean span all of it: what is left of Δ would be rounding."""
    rng = np.random.default_rng(0)
    core, head = rng.normal(size=(6, 6)), Readout(rng.normal(size=(targets, 6)))
    between = HiddenMap(core, np.zeros(6), core, np.zeros(6), head)
    cases = Cases(*(np.array([i, i + 1]) for i in range(5)))
    assert ("map-hidden" in directions_of(between, head, cases, FlipOptions())) is hidden


@pytest.mark.parametrize(("depth", "layers"), [(30, [9, 14, 19, 24]), (2, [0, 1]), (1, [0])])
def test_layers_are_spread_over_the_model(depth: int, layers: list[int]) -> None:
    assert layers_of(depth) == layers


def test_the_lock_is_held_between_the_scores_and_the_copies(
    flags: list[str], flips: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, held = Run.evaluate, list[bool]()

    def and_look(run: Run) -> Results:
        results = evaluate(run)
        held.append(lock_path(run.config.store_url()).exists())
        return results

    monkeypatch.setattr(Run, "evaluate", and_look)
    flips()
    assert held == [True]
