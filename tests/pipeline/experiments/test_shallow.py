"""Mappings for the shallow networks, and the verb on a toy model."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from lincorr.errors import BadInput, LincorrError
from lincorr.prompts.columns import Columns
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.experiments.shallow import Mapping, ShallowOptions, draw, mappings
from pipeline.prepare.relations import RelationInputs
from pipeline.run import Run

TEXTS = ["Shanghai", "Tokyo", "Paris", "Lima", "China", "Japan", "France", "Peru", "Chile"]
LETTERS = {"S": 20, "T": 21, "P": 22, "C": 23, "J": 24, "F": 25}


def relation(name: str, sources: range, targets: range, truth: dict[int, tuple[int, ...]]) -> RelationInputs:
    def columns(tokens: range) -> Columns:
        words = tuple(TEXTS[token] for token in tokens)
        return Columns(np.array(tokens), tuple(f" {w}" for w in words), words, (True,) * len(words), {})

    return RelationInputs(SimpleNamespace(name=name), columns(sources), columns(targets), truth)  # type: ignore[arg-type]


def test_the_papers_words_permuted_and_their_initials() -> None:
    inputs = relation("city-country", range(4), range(4, 9), {3: (7,)})
    assert mappings(inputs, [f" {t}" for t in TEXTS], LETTERS) == [
        Mapping("city-country", "true", (0, 1, 2), (4, 5, 6)),
        Mapping("city-country", "permuted", (0, 1, 2), (5, 6, 4)),
        Mapping("city-country", "letters", (20, 21, 22), (23, 24, 25)),
    ]


def test_another_relations_first_words_with_targets_of_their_own() -> None:
    inputs = relation("mine", range(4), range(4, 9), {0: (4,), 1: (4,), 2: (4, 6), 3: (7,)})
    true, *others = mappings(inputs, TEXTS, LETTERS)
    assert (true.sources, true.targets) == ((0, 2, 3), (4, 6, 7))
    assert [mapping.kind for mapping in others] == ["permuted"]  # no L, and no letter twice
    with pytest.raises(BadInput, match="'mine': fewer than three sources"):
        mappings(relation("mine", range(4), range(4, 9), {0: (4,), 1: (4,)}), TEXTS, LETTERS)


def test_subjects_are_no_answers_and_given_evenly(tokenizer: Any) -> None:
    mapping = Mapping("toy", "true", (300, 301, 302), (310, 311, 312))
    options = ShallowOptions(taught=31, held_out=15)
    competing = tuple(range(260, 320))
    task: Any = SimpleNamespace(mapping=mapping, competing=competing, options=options)
    subjects, given = draw(tokenizer, task, 0)
    assert len(subjects) == len(set(subjects)) == len(given) == 46
    assert set(subjects).isdisjoint(competing)
    assert sorted(np.bincount(given[:31])) == [10, 10, 11]
    assert np.bincount(given[31:]).tolist() == [5, 5, 5]
    assert draw(tokenizer, task, 0) == (subjects, given)
    assert draw(tokenizer, task, 1) != (subjects, given)


@pytest.fixture
def flags(toy_model: Path, tmp_path: Path) -> list[str]:
    side = {"source": ("city", CITIES), "target": ("country", COUNTRIES)}
    sides = {role: {"template": name, "answers": list(words)} for role, (name, words) in side.items()}
    truth = [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)]
    templates = {name: f"{{}} lives in the {name} of" for name in ("city", "country")}
    catalogue = tmp_path / "toy.yaml"
    catalogue.write_text(
        yaml.safe_dump({"templates": templates, "relations": {"toy": sides | {"truth": truth}}})
    )
    return ["--model", str(toy_model), "--catalogue", str(catalogue), "--relations", "toy"]


def test_a_gpu_is_counted_as_workers_share_it(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def executor(run: Run, worker_bytes: int, gpus: int, **_: bool) -> None:
        asked.append(gpus)
        raise LincorrError("no worker came")

    monkeypatch.setattr("pipeline.experiments.shallow.visible_gpus", lambda device: 3)
    monkeypatch.setattr(Run, "executor", executor)
    assert main(["shallow", *flags, "--taught", "6", "--held-out", "3"]) == 1
    assert asked == [3]


def test_the_verb(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    flags += ["--cluster-kind", "serial", "--taught", "30", "--held-out", "15", "--runs", "2"]
    printed = []
    for _ in range(2):
        assert main(["shallow", *flags, "--json"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    true, permuted, *_ = json.loads(printed[0])["mappings"]
    assert (true["sources"], true["targets"]) == (
        ["Tokyo", "Paris", "Berlin"],
        ["Japan", "France", "Germany"],
    )
    assert permuted["targets"] == ["France", "Germany", "Japan"]
    assert true["learnt"]["mean"] > 0.9
    runs = true["success"]["runs"]
    assert len(runs) == 2
    assert true["success"]["mean"] == pytest.approx(np.mean(runs))
    assert true["paper"] is None
    assert main(["shallow", *flags, "--runs", "1"]) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "Tokyo, Paris, Berlin → Japan, France, Germany" in table
    assert "follows, 1 network each" in table
    assert "±" not in table
