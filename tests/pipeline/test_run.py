"""Whole runs of a toy model in this process, against Hugging Face, scikit-learn and SciPy."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
import zarr
from scipy.linalg import lstsq
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression, Ridge
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.prompts.subjects import split_rows
from lincorr.store.head import Head
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.cli.run import print_results
from pipeline.evaluate import scores as evaluate

TEMPLATES = {
    "city": "{} lives in the city of",
    "country": "{} lives in the country of",
    "late": "in the city of {}",
}
RELATIONS = {
    "toy": {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    },
    "second": {
        "source": {"template": "city", "answers": [*CITIES[:3], *COUNTRIES[:3]]},
        "target": {"template": "late", "answers": list(COUNTRIES)},
    },
}
FITS = ["domain", "domain-ridge", "vocabulary", "vocabulary-ridge"]
WIDTH, VOCABULARY = 32, 376


@dataclass
class Runner:
    """Runs verbs on the toy model; `flags` stand for all of them, keywords for one.

    `document` is what the run printed that made the store, if there is one.
    """

    folder: Path
    flags: dict[str, object]
    document: dict[str, Any]

    def __call__(self, verb: str, **changes: object) -> dict[str, Any]:
        settings = self.flags | {name.replace("_", "-"): value for name, value in changes.items()}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert main([verb, *flags, "--json"]) == 0
        return json.loads(printed.getvalue())

    @property
    def store(self) -> LogitStore:
        return LogitStore.open(str(self.flags["store"]))

    @property
    def fits(self) -> dict[str, dict[str, Any]]:
        return {fit["name"]: fit for fit in self.document["relations"][0]["fits"]}

    def arrays(self) -> dict[str, np.ndarray]:
        return arrays_of(self.flags["store"])

    def subjects(self) -> list[int]:
        return self.arrays()["subjects/id"].tolist()


def arrays_of(store: object) -> dict[str, np.ndarray]:
    """Everything that forward passes left in a store, read with plain Zarr."""
    group = zarr.open_group(str(store), mode="r")
    names = [name for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)]
    kept = ("subjects", "columns", "logits", "hidden", "head")
    return {name: group[name][...] for name in names if name.startswith(kept)}


def runner(folder: Path, model: Path) -> Runner:
    catalogue = folder / "toy.yaml"
    catalogue.write_text(yaml.safe_dump({"templates": TEMPLATES, "relations": RELATIONS}))
    flags = {
        "model": model,
        "catalogue": catalogue,
        "relations": "toy",
        "store": folder / "run.zarr",
        "cluster-kind": "serial",
        "subjects-count": 100,
        "subjects-split": "even-odd",
        "store-shard-rows": 32,
        "cluster-batch-tokens": 64,
    }
    return Runner(folder, flags, {})


@pytest.fixture
def run(tmp_path: Path, toy_model: Path) -> Runner:
    """Runs in an empty folder."""
    return runner(tmp_path, toy_model)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    """A whole run, only to be read."""
    run = runner(tmp_path_factory.mktemp("finished"), toy_model)
    run.document = run("run")
    return run


@pytest.fixture
def rerun(run: Runner, finished: Runner) -> Runner:
    """Runs in a folder where the same run is finished."""
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    run.document = finished.document
    return run


@pytest.fixture
def passes() -> Iterator[list[tuple[int, int]]]:
    """The shapes of all batches that a language model's body is called with."""
    shapes: list[tuple[int, int]] = []

    def note(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
        if type(module).__name__ == "LlamaModel":
            ids = args[0] if args else kwargs["input_ids"]
            shapes.append(tuple(ids.shape))

    hook = torch.nn.modules.module.register_module_forward_hook(note, with_kwargs=True)
    yield shapes
    hook.remove()


# An implementation of one's own: one prompt at a time, one column at a time


class Reference:
    """The same answers by the shortest way."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float64) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def column(self, word: str) -> int:
        (token,) = self.tokenizer.encode(" " + word)
        return token

    @torch.inference_mode()
    def logits(self, prompts: list[list[int]]) -> np.ndarray:
        rows = [self.model(torch.tensor([ids])).logits[0, -1] for ids in prompts]
        return torch.stack(rows).double().numpy()

    def after(self, tokens: list[int], text: str) -> np.ndarray:
        """Logits after each token and the text behind it."""
        rest = self.tokenizer.encode(text)
        return self.logits([[token, *rest] for token in tokens])

    def of_texts(self, texts: list[str]) -> np.ndarray:
        return self.logits([self.tokenizer.encode(text) for text in texts])


@pytest.fixture(scope="module")
def reference(toy_model: Path) -> Reference:
    return Reference(toy_model)


def close(found: np.ndarray, right: np.ndarray, relative: float) -> None:
    """Compare to a part of the largest value."""
    np.testing.assert_allclose(found, right, rtol=0, atol=relative * np.abs(right).max())


@pytest.fixture(scope="module")
def answers(finished: Runner, reference: Reference) -> dict[str, np.ndarray]:
    """Logits of the finished run's subjects, over the whole vocabulary."""
    names = {"city": " lives in the city of", "country": " lives in the country of"}
    return {name: reference.after(finished.subjects(), text) for name, text in names.items()}


@pytest.fixture(scope="module")
def ids(reference: Reference) -> dict[str, list[int]]:
    """Token ids of the answers."""
    words = {"city": CITIES, "country": COUNTRIES}
    return {name: [reference.column(word) for word in words[name]] for name in words}


@pytest.mark.parametrize("name", ["city", "country"])
def test_logits_are_the_models_own(name, finished, answers, ids):
    arrays = finished.arrays()
    assert arrays[f"columns/{name}/id"].tolist() == ids[name]
    np.testing.assert_allclose(arrays[f"logits/{name}"], answers[name][:, ids[name]], atol=1e-4)


def test_the_domains_map_is_that_of_scikit_learn_column_by_column(finished, answers, ids):
    x, y = (answers[name][:, ids[name]] for name in ("city", "country"))
    fitted = finished.store.maps.load("toy", "domain")
    predicted = np.empty_like(y[1::2])
    for column in range(y.shape[1]):
        model = LinearRegression().fit(x[::2], y[::2, column])
        close(fitted.block(ids["city"], ids["country"])[:, column], model.coef_, 1e-4)
        assert fitted.intercept[column] == pytest.approx(model.intercept_, rel=1e-4, abs=1e-4)
        predicted[:, column] = model.predict(x[1::2])
    agree_in_score(finished.fits["domain"], predicted, y[1::2])


def test_the_vocabularys_map_is_the_minimum_norm_one(finished, answers, ids):
    x, y = answers["city"], answers["country"][:, ids["country"]]
    mean_x, mean_y = x[::2].mean(0), y[::2].mean(0)
    weights = lstsq(x[::2] - mean_x, y[::2] - mean_y, cond=1e-10, lapack_driver="gelsd")[0]
    fitted = finished.store.maps.load("toy", "vocabulary")
    close(fitted.block(range(VOCABULARY), ids["country"]), weights, 1e-4)
    agree_in_score(finished.fits["vocabulary"], (x[1::2] - mean_x) @ weights + mean_y, y[1::2])
    assert finished.fits["vocabulary"]["rank"] == WIDTH


@pytest.mark.parametrize("source", ["domain", "vocabulary"])
def test_ridge_is_that_of_scikit_learn(source, finished, answers, ids):
    x = answers["city"] if source == "vocabulary" else answers["city"][:, ids["city"]]
    y = answers["country"][:, ids["country"]]
    fit = finished.fits[f"{source}-ridge"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    agree_in_score(fit, model.predict(x[1::2]), y[1::2])


def agree_in_score(fit: dict[str, Any], predicted: np.ndarray, true: np.ndarray) -> None:
    r = [pearsonr(predicted[:, column], true[:, column])[0] for column in range(true.shape[1])]
    assert [target["token"].strip() for target in fit["r_by_target"]] == list(COUNTRIES)
    np.testing.assert_allclose([target["r"] for target in fit["r_by_target"]], r, atol=1e-5)
    assert fit["r"] == pytest.approx(np.mean(r), abs=1e-5)
    assert fit["r_std"] == pytest.approx(np.std(r), abs=1e-5)
    rho = [spearmanr(predicted[:, column], true[:, column]).statistic for column in range(true.shape[1])]
    # two neighbours that change places move rho by 6e-5
    np.testing.assert_allclose([target["spearman"] for target in fit["r_by_target"]], rho, atol=3e-4)
    assert fit["spearman"] == pytest.approx(np.mean(rho), abs=3e-4)
    drawn = np.random.default_rng(7).integers(len(true), size=(1000, len(true)))
    means = [mean_r(predicted[rows], true[rows]) for rows in drawn]
    low, high = np.percentile(means, [2.5, 97.5])
    assert (fit["r_low"], fit["r_high"]) == pytest.approx((low, high), abs=0.25 * (high - low))


def mean_r(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(pearsonr(predicted, true, axis=0).statistic))


def test_all_outputs_are_scored_as_if_predicted(finished, answers):
    x, y = answers["city"], answers["country"]
    fit = finished.fits["vocabulary-ridge"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    predicted, true = model.predict(x[1::2]), y[1::2]
    assert fit["r_all"] == pytest.approx(mean_r(predicted, true), abs=1e-5)
    rho = [spearmanr(predicted[:, column], true[:, column]).statistic for column in range(VOCABULARY)]
    assert fit["sampled_outputs"] == VOCABULARY  # fewer than would be sampled
    assert fit["spearman_sample"] == pytest.approx(np.mean(rho), abs=1e-4)


def test_only_a_sample_of_many_outputs_is_ranked(rerun, answers, monkeypatch):
    monkeypatch.setattr(evaluate, "SAMPLED_OUTPUTS", 5)
    fits = {fit["name"]: fit for fit in rerun("evaluate", report_sources=3)["relations"][0]["fits"]}
    fit = fits["vocabulary-ridge"]
    x, y = answers["city"], answers["country"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    columns = np.random.default_rng(0).choice(VOCABULARY, 5, replace=False)
    predicted = model.predict(x[1::2])
    rho = [spearmanr(predicted[:, column], y[1::2, column]).statistic for column in columns]
    assert fit["sampled_outputs"] == 5
    assert fit["spearman_sample"] == pytest.approx(np.mean(rho), abs=1e-3)
    assert fits["domain"]["spearman_sample"] is None


# Controls


@pytest.mark.parametrize("name", ["domain", "domain-ridge", "vocabulary-ridge"])
def test_shuffled_targets_are_fitted_as_by_scikit_learn(name, finished, answers, ids):
    x = answers["city"][:, ids["city"]] if name.startswith("domain") else answers["city"]
    y = answers["country"][:, ids["country"]]
    fit, rng, found = finished.fits[name], np.random.default_rng(0), []
    for _ in range(8):
        order = rng.permutation(50)
        model = Ridge(alpha=fit["penalty"], solver="svd") if fit["penalty"] else LinearRegression()
        model.fit(x[::2], y[::2][order])
        found.append(mean_r(model.predict(x[1::2]), y[1::2]))
    assert fit["r_shuffled"] == pytest.approx(np.mean(found), abs=1e-4)
    assert fit["r_shuffled_std"] == pytest.approx(np.std(found), abs=1e-4)


def test_one_number_a_subject_is_a_source_of_its_own(finished, answers, ids):
    y = answers["country"][:, ids["country"]]
    for name, x in (("domain", answers["city"][:, ids["city"]]), ("vocabulary-ridge", answers["city"])):
        mean = x.mean(axis=1, keepdims=True)
        predicted = LinearRegression().fit(mean[::2], y[::2]).predict(mean[1::2])
        r = finished.fits[name]["r_mean_logit"]
        assert r == pytest.approx(mean_r(predicted, y[1::2]), abs=1e-4)


def test_another_relations_prompt_is_a_control(rerun, reference, answers, ids):
    document = rerun("run", relations="toy,second")
    toy, second = document["relations"]
    assert toy["other_prompt"] == {"relation": "second", "template": "late", "text": TEMPLATES["late"]}
    assert second["other_prompt"] == {
        "relation": "toy",
        "template": "country",
        "text": TEMPLATES["country"],
    }
    rest = reference.tokenizer.encode("in the city of")
    late = reference.logits([[*rest, token] for token in rerun.subjects()])[:, ids["country"]]
    for fit in toy["fits"]:
        x = answers["city"][:, ids["city"]] if fit["name"].startswith("domain") else answers["city"]
        if fit["name"] != "vocabulary":  # whose minimum norm scikit-learn's cutoff does not give
            model = Ridge(alpha=fit["penalty"], solver="svd") if fit["penalty"] else LinearRegression()
            predicted = model.fit(x[::2], late[::2]).predict(x[1::2])
            assert fit["r_other_prompt"] == pytest.approx(mean_r(predicted, late[1::2]), abs=1e-4)


def test_without_another_relation_there_is_no_other_prompt(finished):
    assert finished.document["relations"][0]["other_prompt"] is None
    assert {fit["r_other_prompt"] for fit in finished.fits.values()} == {None}


def test_hits_are_counted_as_by_hand(finished):
    fit = finished.fits["domain"]
    weights = finished.store.maps.load("toy", "domain").weights
    order = np.argsort(-weights, axis=1)  # the right target of source i is target i
    for k in (1, 3, 5):
        right = np.mean([i in order[i, :k] for i in range(len(CITIES))])
        assert fit["hits"]["influenced target"][str(k)] == pytest.approx(right)
    order = np.argsort(-weights, axis=0)
    for k in (1, 3, 5):
        right = np.mean([i in order[:k, i] for i in range(len(CITIES))])
        assert fit["hits"]["influencing source"][str(k)] == pytest.approx(right)


def test_the_grouped_split_leaks_nothing_and_is_what_is_fitted(run, reference):
    document = run("run", subjects_split="grouped", subjects_count=236, store_shard_rows=256)
    texts = [reference.tokenizer.decode([token]).strip() for token in run.subjects()]
    fitted = run.store.maps.load("toy", "domain")
    fit, test = document["subjects"]["fit"], document["subjects"]["test"]
    assert (fitted.diagnosis.n_rows, fit + test) == (fit, 236)
    assert abs(fit - test) <= 2
    twins = [text for text in texts if texts.count(text) == 2]
    assert twins  # "Tokyo" and " Tokyo": else this says nothing

    arrays = run.arrays()
    x, y = (arrays[f"logits/{name}"].astype(float) for name in ("city", "country"))
    rows, held_out = split_rows(run.store.subjects().texts, "grouped", seed=0)
    assert {texts[i] for i in rows}.isdisjoint(texts[i] for i in held_out)
    coefficients = LinearRegression().fit(x[rows], y[rows]).coef_.T
    close(fitted.weights, coefficients, 1e-6)


# Nothing is computed twice


def test_a_first_run_passes_every_prompt_once(run, passes):
    assert run("extract", subjects_count=64)["prompts"] == 2 * 64
    checks = 2 + 4 + 4  # of the head, of trees, and of a trunk: each short cut and the plain prompts
    assert len(passes) == 64 / 8 + checks


def test_a_second_run_makes_no_forward_pass(rerun, passes):
    before = rerun.arrays()
    assert rerun("run")["relations"] == rerun.document["relations"]
    assert passes == []
    for name, array in rerun.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("first", [30, 32, 41])
def test_more_subjects_extend_a_store_to_what_it_would_have_been(first, run, finished, passes):
    run("extract", subjects_count=first)
    passes.clear()
    assert run("extract", subjects_count=100)["prompts"] == 2 * (100 - first)
    full, partial = divmod(first, 32)
    batches = 13 - 4 * full - partial // 8  # 32 + 32 + 32 + 4 subjects in batches of 8
    assert passes == [(8, 8)] * batches  # two prompts of 6 tokens, of which the first 4 are one
    extended, at_once = run.arrays(), finished.arrays()
    assert extended.keys() == at_once.keys()
    for name in at_once:
        np.testing.assert_array_equal(extended[name], at_once[name], err_msg=name)


def test_a_store_extended_again_and_again_is_whole(run, finished):
    for count in (5, 12, 33, 34, 100):
        run("extract", subjects_count=count)
    assert run.store.verify() == []
    at_once = finished.arrays()
    for name, array in run.arrays().items():
        np.testing.assert_array_equal(array, at_once[name], err_msg=name)


def test_fewer_subjects_use_what_is_there(rerun, passes):
    document = rerun("run", subjects_count=60)
    assert passes == []
    assert document["subjects"]["count"] == 60
    assert rerun.store.maps.load("toy", "domain").diagnosis.n_rows == 30


def test_other_subjects_are_added_behind(run):
    run("extract", subjects_count=40)
    before = run.subjects()
    made = run("extract", subjects_count=40, subjects_seed=1)["prompts"]
    after = run.subjects()
    assert after[:40] == before
    assert len(set(after)) == len(after)
    assert made == 2 * (len(after) - 40)


def test_another_relation_makes_only_its_own_templates_passes(rerun, passes):
    before = rerun.arrays()
    document = rerun("run", relations="toy,second")
    trunk, batches = [(1, 4)], [(32, 1)] * 4
    assert passes == trunk + batches  # one new template, its beginning once: the subject stands last
    assert [relation["name"] for relation in document["relations"]] == ["toy", "second"]
    after = rerun.arrays()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert after["logits/late"].shape == (100, 10)


def test_a_template_with_the_slot_at_its_end(run, reference):
    assert run("extract", relations="second")["prompts"] == 200
    rest = reference.tokenizer.encode("in the city of")
    right = reference.logits([[*rest, token] for token in run.subjects()])
    ids = [reference.column(word) for word in COUNTRIES]
    np.testing.assert_allclose(run.arrays()["logits/late"], right[:, ids], atol=1e-4)


def test_columns_that_are_not_kept_come_from_hidden_states(rerun, reference, answers):
    rerun("extract", relations="second")
    fitted = rerun("fit", relations="second")["fitted"]
    assert "second/domain" in fitted  # its source has countries, of which template city keeps no logits
    columns = np.array([reference.column(word) for word in (*CITIES[:3], *COUNTRIES[:3])])
    found = rerun.store.logits("city", columns, np.arange(100))
    np.testing.assert_allclose(found, answers["city"][:, columns], atol=1e-4)


# Subjects of other kinds


def test_strings_from_a_file(run, reference, tmp_path):
    names = [f"{first} {last}" for first in ("Anna", "Bo", "Tokyo") for last in CITIES]
    (tmp_path / "names.txt").write_text("\n".join(names))
    flags = {"subjects_kind": "strings", "subjects_file": tmp_path / "names.txt"}
    assert run("extract", **flags)["prompts"] == 60
    assert set(run.store.subjects().classes) == {"string"}
    right = reference.of_texts([f"{name} lives in the city of" for name in names])
    ids = [reference.column(word) for word in CITIES]
    np.testing.assert_allclose(run.arrays()["logits/city"], right[:, ids], atol=1e-4)


def test_token_ids_from_a_file(run, reference, tmp_path):
    ids = list(range(300, 250, -2))
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    run("extract", subjects_kind="tokens", subjects_file=tmp_path / "ids.txt")
    assert run.subjects() == ids
    right = reference.after(ids, " lives in the city of")
    columns = [reference.column(word) for word in CITIES]
    np.testing.assert_allclose(run.arrays()["logits/city"], right[:, columns], atol=1e-4)


def test_a_token_named_twice_is_computed_once_and_fitted_twice(run, tmp_path):
    ids = [*range(270, 300), *range(270, 280)]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    flags = {"subjects_kind": "tokens", "subjects_file": tmp_path / "ids.txt"}
    assert run("extract", **flags)["prompts"] == 2 * 30
    run("fit", **flags)
    assert run.store.maps.load("toy", "domain").diagnosis.n_rows == 20


def test_the_notebooks_subjects_are_raw_spellings(run, reference):
    document = run("run", subjects_compat="notebook", subjects_count=80)
    texts = list(run.store.subjects().texts)
    assert set(texts) <= set(reference.tokenizer.get_vocab())
    assert document["subjects"]["count"] == 80 >= len(texts)
    assert "drawn with replacement" in document["notes"][0]
    right = reference.of_texts([f"{text} lives in the country of" for text in texts])
    ids = [reference.column(word) for word in COUNTRIES]
    np.testing.assert_allclose(run.arrays()["logits/country"], right[:, ids], atol=1e-4)


def test_every_token_of_the_vocabulary(run):
    run("extract", subjects_count="all", subjects_classes="text,blank,byte,added,special")
    assert run.subjects() == list(range(VOCABULARY))
    assert run.store.verify() == []


# What is kept


def test_all_logits(run, answers):
    run("extract", store_logits="all")
    arrays = run.arrays()
    assert arrays["logits/city"].shape == (100, VOCABULARY)
    np.testing.assert_allclose(arrays["logits/city"], answers["city"], atol=1e-4)


def test_logits_are_those_of_the_kept_hidden_states_and_head(finished, ids):
    arrays = finished.arrays()
    made = arrays["hidden/city"].astype(float) @ arrays["head/weight"][ids["city"]].astype(float).T
    np.testing.assert_allclose(arrays["logits/city"], made, atol=1e-4)


def test_float16(run, answers, ids):
    document = run("run", store_precision="float16")
    arrays = run.arrays()
    assert arrays["logits/city"].dtype == arrays["hidden/country"].dtype == np.float16
    right = answers["city"][:, ids["city"]]
    np.testing.assert_allclose(arrays["logits/city"], right, rtol=1e-3, atol=1e-3)
    assert [fit["name"] for fit in document["relations"][0]["fits"]] == FITS


@pytest.fixture(scope="module")
def without_hidden(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    run = runner(tmp_path_factory.mktemp("without-hidden"), toy_model)
    run.flags["store-hidden"] = "false"
    run.document = run("run")
    return run


def test_without_hidden_states_only_the_domain_is_fitted(without_hidden, finished):
    assert list(without_hidden.fits) == FITS[:2]
    assert not any(name.startswith(("hidden", "head")) for name in without_hidden.arrays())
    assert without_hidden.fits["domain"]["r"] == pytest.approx(finished.fits["domain"]["r"], abs=1e-5)


def test_without_hidden_states_there_is_a_page(without_hidden):
    page = (without_hidden.folder / "run-report" / "report.html").read_text("utf-8")
    assert without_hidden.fits["domain-ridge"]["label"] in page
    assert "full vocabulary, ridge" not in page


def test_without_hidden_states_other_columns_are_refused(without_hidden, capsys):
    flags = without_hidden.flags | {"relations": "second"}
    assert main(["run", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    assert "has no logits of 3 of the answers to template 'city'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def logits_only(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    run = runner(tmp_path_factory.mktemp("logits-only"), toy_model)
    run.flags |= {"store-hidden": "false", "store-logits": "all"}
    run.document = run("run")
    return run


def test_all_logits_without_hidden_states_fit_the_vocabulary_too(logits_only, finished):
    methods = {run.fits["vocabulary"]["method"] for run in (logits_only, finished)}
    assert methods == {"direct", "factored"}
    ridge = logits_only.fits["vocabulary-ridge"], finished.fits["vocabulary-ridge"]
    assert ridge[0]["r"] == pytest.approx(ridge[1]["r"], abs=1e-4)


def test_all_logits_without_hidden_states_have_the_rank_of_the_width(logits_only):
    assert logits_only.fits["vocabulary"]["rank"] == WIDTH


# Fits are made once


def test_a_fit_is_kept_until_its_inputs_change(rerun):
    every_fit = [f"toy/{name}" for name in FITS]
    assert rerun("fit")["fitted"] == []
    assert rerun("fit", subjects_split="grouped")["fitted"] == every_fit
    assert rerun("fit", subjects_split="grouped")["fitted"] == []
    assert rerun("fit", fit_rcond=1e-3)["fitted"] == every_fit
    assert rerun("fit", subjects_count=60)["fitted"] == every_fit


def test_a_fit_is_made_again_when_its_answers_change(rerun):
    (rerun.folder / "few.txt").write_text("\n".join(CITIES[:5]))
    again = rerun("fit", source_answers=rerun.folder / "few.txt")["fitted"]
    assert again == ["toy/domain", "toy/domain-ridge"]
    assert rerun.store.maps.load("toy", "domain").weights.shape == (5, 10)


def test_a_repair_to_the_same_bits_keeps_the_fits(rerun):
    zarr.open_group(str(rerun.flags["store"]), mode="r+")["done/city"][0] = [32, 1, 1]
    assert rerun("extract")["prompts"] == 32
    assert rerun("fit")["fitted"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"subjects-split": "grouped"},
        {"subjects-count": 60},
        {"subjects-seed": 3, "subjects-split": "grouped"},
    ],
    ids=lambda change: ", ".join(change),
)
def test_maps_are_not_scored_on_what_they_were_fitted_to(change, rerun, capsys):
    flags = rerun.flags | change
    if "subjects-seed" in change:
        rerun("extract", subjects_seed=3)
    assert main(["evaluate", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    assert "run `lincorr fit` first" in capsys.readouterr().err


def test_a_fit_that_was_broken_off_is_made_again(rerun):
    group = zarr.open_group(str(rerun.flags["store"]), mode="r+")["maps/toy/vocabulary"]
    del group.attrs["inputs"]  # written last
    again = rerun("fit")["fitted"]
    assert "toy/vocabulary" in again
    assert "toy/domain" not in again


# Scores are found once


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The relations that are scored, in order."""
    names: list[str] = []
    score = evaluate._scores

    def note(store: Any, inputs: Any, *rest: Any) -> dict[str, Any]:
        names.append(inputs.relation.name)
        return score(store, inputs, *rest)

    monkeypatch.setattr(evaluate, "_scores", note)
    return names


def test_scores_are_kept_until_something_they_depend_on_changes(rerun, scored):
    again = rerun("evaluate")
    assert scored == []
    assert again["relations"] == rerun.document["relations"]
    rerun("evaluate", report_sources=3)
    rerun("evaluate", report_sources=3)
    assert scored == ["toy"]
    rerun("fit", fit_rcond=1e-3)
    rerun("evaluate", fit_rcond=1e-3)
    assert scored == ["toy"] * 2
    rerun("run", relations="toy,second")  # which brings a control
    assert scored == ["toy"] * 3 + ["second"]


def test_scores_are_found_again_when_the_truth_changes(rerun, scored):
    catalogue = yaml.safe_load(rerun.flags["catalogue"].read_text())
    catalogue["relations"]["toy"]["truth"] = [["Tokyo", "Peru"]]
    rerun.flags["catalogue"].write_text(yaml.safe_dump(catalogue))
    found = rerun("evaluate")["relations"][0]["fits"][0]["hits"]["influenced target"]
    assert (scored, found["of"]) == (["toy"], 1)


def test_kept_scores_are_not_told_of_damaged_rows(rerun, capsys):
    chunk = next(path for path in (Path(rerun.flags["store"]) / "hidden/city/c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert main(["evaluate", *(f"--{name}={value}" for name, value in rerun.flags.items())]) == 1
    assert "damaged" in capsys.readouterr().err


def test_the_head_is_read_once_for_all_maps(rerun, monkeypatch):
    reads = []
    read = Head.read
    monkeypatch.setattr(Head, "read", lambda head: reads.append(1) or read(head))
    rerun("evaluate", report_sources=3)
    assert reads == [1]


# The report


def test_few_rows_and_interpolation_are_warned_of(rerun, finished):
    assert [words[:30] for words in finished.document["relations"][0]["warnings"]] == [
        "only 50 subjects are held out:"
    ]
    warnings = rerun("run", subjects_count=60)["relations"][0]["warnings"]
    assert warnings[0].startswith("only 30 subjects")
    assert warnings[1].startswith("vocabulary: 30 subjects are fitted with 29 free directions")
    assert len(warnings) == 2  # with ridge W does not follow the noise


def test_the_terminal_shows_what_r_is_worth(finished, capsys):
    print_results(finished.document)
    printed = capsys.readouterr().out
    fit = finished.fits["domain-ridge"]
    row = next(line for line in printed.splitlines() if "–" in line and line.strip().startswith("domain-r"))
    assert f"{fit['r_low']:.3f}–{fit['r_high']:.3f}" in row
    assert f"{fit['r_shuffled']:.2f} ± {fit['r_shuffled_std']:.2f}" in row
    assert printed.split("by chance")[1].split()[:3] == ["0.10", "0.30", "0.50"]  # one of ten is right
    assert "other prompt" not in printed
    assert "Warning: only 50 subjects are held out" in printed


def test_a_run_writes_the_page_and_its_numbers(finished):
    folder = finished.folder / "run-report"
    page = (folder / "report.html").read_text("utf-8")
    assert all(fit["label"] in page for fit in finished.fits.values())
    kept = json.loads((folder / "report.json").read_text("utf-8"))
    assert kept["relations"] == finished.document["relations"]
    assert (folder / "scores.csv").read_text("utf-8").count("\n") == 1 + len(FITS)


def test_the_document_says_where_it_came_from(finished, toy_model):
    document = finished.document
    assert document["model"]["source"] == str(toy_model)
    assert document["title"] == f"toy on {toy_model.name}"
    assert document["subjects"]["left_out"] == {"byte": 128, "blank": 10, "special": 2}
    assert set(document["seconds"]) >= {"extract", "fit", "evaluate"}
    assert document["versions"]["torch"] == torch.__version__


def test_the_verbs_one_by_one_give_what_run_gives(run, finished):
    run("extract")
    run("fit")
    assert run("evaluate")["relations"] == finished.document["relations"]
    assert Path(run("report")["report"]).is_file()


# Fits that stream


@pytest.mark.parametrize("method", ["dual", "lowrank", "tiled"])
def test_a_streamed_fit_of_all_logits_scores_as_the_exact_one(method, run, logits_only):
    shutil.copytree(logits_only.folder, run.folder, dirs_exist_ok=True)
    run.flags |= {"store-hidden": "false", "store-logits": "all"}
    exact = logits_only.fits["vocabulary-ridge"]
    penalty = exact["root_penalty"]
    document = run("run", fit_method=method, fit_penalty=penalty)
    fits = {fit["name"]: fit for fit in document["relations"][0]["fits"]}
    assert {fit["method"] for fit in fits.values()} == {method}
    names = ["vocabulary-ridge"] if method == "tiled" else ["vocabulary", "vocabulary-ridge"]
    assert [name for name in fits if name.startswith("vocabulary")] == names
    streamed = fits["vocabulary-ridge"]
    assert streamed["r"] == pytest.approx(exact["r"], abs=2e-3 if method == "tiled" else 1e-5)
    controls = ("r_shuffled", "r_shuffled_std")
    assert all(
        streamed[name] == (None if method == "tiled" else pytest.approx(exact[name], abs=1e-5))
        for name in controls
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fit_memory": 0.2}, "fit.memory: 0.2 GB is what a worker's libraries take; give it 0.7 or more"),
        ({"fit_method": "tiled", "fit_penalty": 0}, "it needs λ > 0, and fit.penalty is 0"),
        ({"fit_penalty": -1}, "fit.penalty: '-1' is refused"),
    ],
)
def test_fits_that_cannot_be_are_refused_in_one_line(changes, line, rerun, capsys):
    flags = rerun.flags | {name.replace("_", "-"): value for name, value in changes.items()}
    capsys.readouterr()
    assert main(["fit", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert line in told
