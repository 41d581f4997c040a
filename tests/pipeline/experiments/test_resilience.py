"""Maps of one toy model tested on another, against scikit-learn, SciPy and Hugging Face."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.prompts.subjects import split_rows
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, toy_relation, toy_tokenizer
from pipeline.cli.main import main
from pipeline.experiments.resilience import cosines

TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
SUBJECTS = 80


@pytest.fixture(scope="module")
def tuned(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model with other weights."""
    return moved(toy_model, tmp_path_factory.mktemp("tuned") / "tuned", by=0.05)


def moved(model: Path, folder: Path, by: float) -> Path:
    """A copy of a model whose weights are moved at random."""
    shutil.copytree(model, folder)
    rng = np.random.default_rng(0)
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    others = {name: w + by * rng.standard_normal(w.shape).astype(w.dtype) for name, w in tensors.items()}
    safetensors.numpy.save_file(others, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("resilience")
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump({"templates": TEXTS, "relations": {"toy": relation}}))
    options = {
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--subjects-count": SUBJECTS,
        "--cluster-kind": "serial",
    }
    return [str(part) for option in options.items() for part in option]


@pytest.fixture
def compare(
    toy_model: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], blank_plots: None
) -> Callable[..., dict[str, Any]]:
    def compare(after: Path, *more: object) -> dict[str, Any]:
        arguments = ["--before", toy_model, "--after", after, "--store", tmp_path / "a.zarr"]
        arguments += ["--after-store", tmp_path / "b.zarr", *more]
        assert main(["resilience", *flags, *map(str, arguments), "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return compare


def all_logits(folder: Path, template: str, subject_ids: np.ndarray) -> np.ndarray:
    """Every token's logits for every subject, from Hugging Face, prompt by prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rest = tokenizer.encode(TEXTS[template].removeprefix("{}"))
    with torch.inference_mode():
        rows = [model(torch.tensor([[int(s), *rest]])).logits[0, -1].double().numpy() for s in subject_ids]
    return np.array(rows)


def test_every_map_is_tested_on_both_models(
    compare: Callable[..., dict[str, Any]], toy_model: Path, tuned: Path, tmp_path: Path
) -> None:
    document = compare(tuned)
    fits = {fit["name"]: fit for fit in document["relations"][0]["fits"]}
    assert list(fits) == ["domain", "domain-ridge", "vocabulary", "vocabulary-ridge"]
    stores = {
        side: LogitStore.open(str(tmp_path / f"{n}.zarr")) for side, n in (("before", "a"), ("after", "b"))
    }
    subjects = stores["before"].subjects()
    fit_rows, test_rows = split_rows(subjects.texts, "grouped", seed=0)
    assert document["subjects"] == [len(fit_rows), len(test_rows)]
    models = {"before": toy_model, "after": tuned}
    x, y = (
        {side: all_logits(folder, name, subjects.ids) for side, folder in models.items()} for name in TEXTS
    )
    tokenizer = toy_tokenizer()
    cities, countries = ([tokenizer.encode(f" {n}")[0] for n in names] for names in (CITIES, COUNTRIES))

    def mean_r(predicted: np.ndarray, side: str) -> float:
        true = y[side][np.ix_(test_rows, countries)]
        return float(np.mean([pearsonr(p, t).statistic for p, t in zip(predicted.T, true.T, strict=True)]))

    for score in fits["domain"]["scores"]:
        fitted, tested = score["fitted"], score["tested"]
        by_hand = LinearRegression().fit(
            x[fitted][np.ix_(fit_rows, cities)], y[fitted][np.ix_(fit_rows, countries)]
        )
        expected = mean_r(by_hand.predict(x[tested][np.ix_(test_rows, cities)]), tested)
        assert score["r"] == pytest.approx(expected, abs=1e-4)
        assert score["r_low"] <= score["r"] <= score["r_high"]
    for score in fits["vocabulary-ridge"]["scores"]:  # from every token's logits, with W written out
        fitted, tested = score["fitted"], score["tested"]
        kept = stores[fitted].maps.load("toy", "vocabulary-ridge")
        w = kept.block(kept.source_ids.tolist(), countries)
        order = [kept.target_ids.tolist().index(token) for token in countries]
        expected = mean_r(x[tested][test_rows] @ w + kept.intercept[order], tested)
        assert score["r"] == pytest.approx(expected, abs=1e-4)
    for name, fit in fits.items():
        a, b = (stores[side].maps.load("toy", name) for side in models)
        wa, wb = (m.block(m.source_ids.tolist(), countries) for m in (a, b))
        expected = np.sum(wa * wb) / np.linalg.norm(wa) / np.linalg.norm(wb)
        assert fit["cosine"] == pytest.approx(expected, abs=1e-9)
    r = {(s["fitted"], s["tested"]): s["r"] for s in fits["vocabulary-ridge"]["scores"]}
    assert r["before", "before"] > r["before", "after"]  # such a change is felt


def test_scores_of_a_model_on_itself_are_those_of_a_run(
    compare: Callable[..., dict[str, Any]],
    tuned: Path,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = compare(tuned)
    arguments = ["--model", str(tuned), "--store", str(tmp_path / "b.zarr")]
    assert main(["evaluate", *flags, *arguments, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["relations"][0]
    for fit, own in zip(document["relations"][0]["fits"], run["fits"], strict=True):
        score = next(s for s in fit["scores"] if (s["fitted"], s["tested"]) == ("after", "after"))
        for key in ("r", "r_std", "r_low", "r_high"):
            assert score[key] == pytest.approx(own[key], abs=1e-6)
        assert fit["hits"]["after"] == own["hits"]


def test_an_adapter_is_a_model_after(
    compare: Callable[..., dict[str, Any]], toy_model: Path, toy_adapter: Path
) -> None:
    document = compare(toy_adapter)
    assert document["after"]["model"] == f"{toy_model} + {toy_adapter}"
    fit = document["relations"][0]["fits"][0]
    assert fit["cosine"] < 0.999
    assert compare(toy_adapter) == document  # nothing is made twice, and nothing changes


def test_a_model_after_nothing_is_the_model_before(
    compare: Callable[..., dict[str, Any]], toy_model: Path
) -> None:
    for fit in compare(toy_model)["relations"][0]["fits"]:
        assert fit["cosine"] == pytest.approx(1)
        assert len({round(score["r"], 12) for score in fit["scores"]}) == 1


def refused(flags: list[str], capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["resilience", *flags, *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_other_tokenizers_are_refused(
    toy_model: Path, tuned: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def after(name: str, tokenizer: Any) -> Path:
        folder = Path(shutil.copytree(tuned, tmp_path / name))
        tokenizer.save_pretrained(folder)
        return folder

    words = ("Kyoto", *CITIES[1:], *COUNTRIES)
    stores = ("--before", toy_model, "--store", tmp_path / "a.zarr", "--after-store", tmp_path / "b.zarr")
    other = after("other", toy_tokenizer(words))
    assert "the tokenizers differ" in refused(flags, capsys, *stores, "--after", other)
    with_bos = after("bos", toy_tokenizer(bos=True))
    assert "cut prompts differently" in refused(flags, capsys, *stores, "--after", with_bos)
    assert not list(tmp_path.glob("*.zarr"))


def test_an_adapter_on_an_adapter_is_refused(
    toy_model: Path, toy_adapter: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = ("--before", toy_model, "--model-adapter", toy_adapter)
    error = refused(flags, capsys, *before, "--after", toy_adapter)
    assert "the model before has one already" in error


def test_one_store_for_both_is_refused(
    toy_model: Path, flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    twin = Path(shutil.copytree(toy_model, tmp_path / toy_model.name))
    error = refused(flags, capsys, "--before", toy_model, "--after", twin)
    assert error.startswith("error: --after-store: both models would have the store")


def test_the_table_shows_all_four(
    toy_model: Path,
    tuned: Path,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    arguments = ["--before", toy_model, "--after", tuned]
    assert main(["resilience", *flags, *map(str, arguments)]) == 0
    shown = capsys.readouterr().out
    for words in ("A→A", "A→B", "B→A", "B→B", "vocabulary-ridge", "cosine"):
        assert words in shown
    assert "…" not in shown
    assert (tmp_path / "runs" / "tuned.zarr").is_dir()


def test_chance_is_the_mean_cosine_over_other_columns() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 7, 4)) + 1

    def fake(weights: np.ndarray) -> LinearMap:
        diagnosis: Any = None
        return LinearMap(np.arange(7), np.arange(4), weights, np.zeros(4), diagnosis)

    same, chance = cosines(fake(a), fake(b))
    size = np.linalg.norm(a) * np.linalg.norm(b)
    assert same == pytest.approx(np.sum(a * b) / size)
    shifted = [np.sum(a * np.roll(b, k, axis=1)) / size for k in (1, 2, 3)]
    assert chance == pytest.approx(np.mean(shifted))


def test_both_models_are_compared_in_the_same_wording(
    toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], blank_plots: None
) -> None:
    paraphrases = {name: [f"The {name} of {{}} is", f"{{}} in the {name} of"] for name in TEXTS}
    declared = {
        "templates": TEXTS,
        "paraphrases": paraphrases,
        "relations": {"toy": toy_relation("city", "country")},
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(declared))
    flags = [
        "--catalogue",
        str(tmp_path / "toy.yaml"),
        "--relations",
        "toy",
        "--subjects-count",
        str(SUBJECTS),
    ]
    flags += ["--cluster-kind", "serial", "--wordings"]
    after = moved(toy_model, tmp_path / "after", by=0.3)

    def found(verb: str, wordings: str, *arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert main([verb, *flags, wordings, *map(str, arguments), "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    stores = ("--store", tmp_path / "a.zarr", "--after-store", tmp_path / "b.zarr")
    document = found("resilience", "chosen", "--before", toy_model, "--after", after, *stores)
    of_after = "--model", after, "--store", tmp_path / "b.zarr"
    of_before = "--model", toy_model, "--store", tmp_path / "a.zarr"
    [a], [b] = (found("evaluate", "chosen", *of)["wordings"] for of in (of_before, of_after))
    assert len({"toy", a["chosen"], b["chosen"]}) == 3  # each would choose another one
    assert {one["relation"] for one in document["relations"]} == {"toy", a["chosen"]}
    own = {one["name"]: one for one in found("evaluate", "all", *of_after)["relations"]}
    for one in document["relations"]:
        for fit, run in zip(one["fits"], own[one["relation"]]["fits"], strict=True):
            score = next(s for s in fit["scores"] if (s["fitted"], s["tested"]) == ("after", "after"))
            assert score["r"] == pytest.approx(run["r"], abs=1e-6)


def test_what_the_model_after_is_refused_for_is_said_before_anything_is_done(
    toy_model: Path, tuned: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "other").touch()
    stores = ("--store", tmp_path / "a.zarr", "--after-store", tmp_path / "b.zarr")
    error = refused(flags, capsys, "--before", toy_model, "--after", tuned, *stores)
    assert "already exists and is not a lincorr store" in error
    assert not (tmp_path / "a.zarr").exists()
