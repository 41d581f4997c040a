"""A study of the toy model against explicit loops: scikit-learn for each pair and count, and SciPy."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
import zarr
from scipy.stats import bootstrap, pearsonr
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.prompts.subjects import split_rows
from lincorr.solvers.spectrum import READING_SHARE, ROOT_PENALTIES
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, toy_relation
from pipeline.cli.main import main
from pipeline.cli.study import print_study
from pipeline.evaluate.experiments import edit_name, kept_or_made
from pipeline.report import tables as exports
from pipeline.study import families, growth, matrix, study
from pipeline.study.families import (
    beside_paper,
    first_wording,
    growth_by_family,
    interval_over,
    paraphrases_of,
)
from pipeline.study.growth import steps
from pipeline.study.study import study_document

FAMILY = "<b>food</b> & more"
COUNTS = (60, 90)
SUBJECTS = 120
CATALOGUE = {
    "templates": {
        "home": "{} lives in the city of",
        "land": "{} lives in the country of",
        "late": "in the city of {}",
        "dish": "{} eats the bread of",
        "taste": "{} likes the taste of",
    },
    "paraphrases": {"home": ["{} is in the city of"]},
    "relations": {
        "home-land": toy_relation("home", "land"),
        "home-late": {
            "family": "places",
            "source": {"template": "home", "answers": list(CITIES[:8])},
            "target": {"template": "late", "answers": list(CITIES[:7])},
        },
        "dish-taste": {
            "family": FAMILY,
            "source": {"template": "dish", "answers": list(CITIES[:6])},
            "target": {"template": "taste", "answers": list(CITIES[6:])},
        },
    },
}
RELATIONS = [*CATALOGUE["relations"], "home-land.2"]


@dataclass
class Study:
    """A finished study, and its data read with plain Zarr."""

    folder: Path
    flags: list[str]
    document: dict[str, Any]

    def __call__(self, *more: str) -> dict[str, Any]:
        """Study again, with more flags; without a report, which takes longer than all the rest."""
        return study_alone([*self.flags, *more])

    @property
    def store(self) -> LogitStore:
        return LogitStore.open(str(self.folder / "run.zarr"))

    def array(self, name: str) -> np.ndarray:
        group = zarr.open_group(str(self.folder / "run.zarr"), mode="r")
        return np.asarray(group[name][...], dtype=np.int64 if name.endswith("id") else np.float64)

    def rows(self, count: int = SUBJECTS) -> tuple[np.ndarray, np.ndarray]:
        """Fit rows among the first `count` subjects, and all held-out rows."""
        texts = self.store.subjects().texts
        fit, test = split_rows(texts, "grouped", seed=0)
        return fit[fit < count], test

    def logits(self, template: str, words: tuple[str, ...]) -> np.ndarray:
        """Logits of words, made from hidden states and head."""
        return self.array(f"hidden/{template}") @ self.array("head/weight")[self.ids(template, words)].T

    def ids(self, template: str, words: tuple[str, ...]) -> np.ndarray:
        group = zarr.open_group(str(self.folder / "run.zarr"), mode="r")
        texts = [str(text) for text in group[f"columns/{template}/text"][...]]
        ids = group[f"columns/{template}/id"][...]
        return np.array([ids[texts.index(" " + word)] for word in words])


def run_study(flags: list[str]) -> dict[str, Any]:
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["study", *flags, "--json"]) == 0
    return json.loads(printed.getvalue())


def study_alone(flags: list[str]) -> dict[str, Any]:
    """Study without writing pages, plots and tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "write_results", lambda _, folder: folder / "report.html")
        return run_study(flags)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Iterator[Study]:
    """A whole study with growth, only to be read."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "toy.yaml").write_text(yaml.safe_dump(CATALOGUE))
    options = {
        "model": toy_model,
        "catalogue": folder / "toy.yaml",
        "relations": ",".join(RELATIONS),
        "store": folder / "run.zarr",
        "cluster-kind": "serial",
        "subjects-count": SUBJECTS,
        "store-shard-rows": 32,
        "cluster-batch-tokens": 64,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "COUNTS", COUNTS)
        study_alone(flags)
        keep_edits(LogitStore.open(str(folder / "run.zarr"), write=True))
        yield Study(folder, flags, run_study([*flags, "--compare-paper"]))


def keep_edits(store: LogitStore) -> None:
    """Keep what `lincorr edit` would; the second relation has no truth."""
    for name, success in (("home-land", 0.5), ("home-late", 0.25)):
        edits = {"relation": name, "success": success, "edits": 9, "random": 0.1}
        kept_or_made(store, name, edit_name(name), "digest", lambda edits=edits: edits)


def mean_r(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([pearsonr(p, t).statistic for p, t in zip(predicted.T, true.T, strict=True)]))


# --- every prompt to every other -----------------------------------------------------------------------


def matrix_of(done: Study, family: str, fit: str) -> tuple[list[str], np.ndarray]:
    [found] = [m for m in done.document["study"]["matrices"] if m["family"] == family and m["fit"] == fit]
    return [t["name"] for t in found["templates"]], np.array(found["r"], dtype=float)


ANSWERS = {"home": CITIES, "land": COUNTRIES, "late": CITIES[:7], "dish": CITIES[:6], "taste": CITIES[6:]}


@pytest.mark.parametrize(("family", "size"), [("places", 3), (FAMILY, 2)])
def test_the_domains_matrix_is_scikit_learns_pair_by_pair(done: Study, family: str, size: int) -> None:
    names, found = matrix_of(done, family, "domain")
    fit, test = done.rows()
    assert len(names) == size  # a further wording ("home.2") is no prompt of its own here
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            if i == j:
                assert np.isnan(found[i, j])
                continue
            x, y = (done.logits(name, ANSWERS[name]) for name in (source, target))
            predicted = LinearRegression().fit(x[fit], y[fit]).predict(x[test])
            assert found[i, j] == pytest.approx(mean_r(predicted, y[test]), abs=1e-4)


def test_the_vocabularys_matrix_is_ridge_at_the_penalty_that_leaving_out_each_row_chooses(
    done: Study,
) -> None:
    names, found = matrix_of(done, "places", "vocabulary-ridge")
    fit, test = done.rows()
    x, y = done.array("hidden/home") @ done.array("head/weight").T, done.logits("land", COUNTRIES)
    sigma = np.linalg.svd(x[fit] - x[fit].mean(axis=0), compute_uv=False)[0]

    def predict(rows: np.ndarray, asked: np.ndarray, root: float) -> np.ndarray:
        """Ridge from the products between rows, refitted for every set of them."""
        mean_x, mean_y = x[rows].mean(axis=0), y[rows].mean(axis=0)
        centred = x[rows] - mean_x
        kernel = centred @ centred.T + (root * sigma) ** 2 * np.eye(len(rows))
        right = y[rows] - mean_y
        # without a penalty the products have the rank of the model's width: minimum norm
        dual = (
            np.linalg.solve(kernel, right) if root else np.linalg.pinv(kernel, 1e-10, hermitian=True) @ right
        )
        return np.asarray((x[asked] - mean_x) @ centred.T @ dual + mean_y)

    scores = {}
    for root in ROOT_PENALTIES:
        left_out = [predict(np.delete(fit, i), fit[i : i + 1], root)[0] for i in range(len(fit))]
        scores[root] = mean_r(np.array(left_out), y[fit])
    reading = max(root for root, r in scores.items() if r >= READING_SHARE * max(scores.values()))
    expected = mean_r(predict(fit, test, reading), y[test])
    assert found[names.index("home"), names.index("land")] == pytest.approx(expected, abs=1e-4)


def test_a_matrix_agrees_with_the_relations_own_fit(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    for fit in relation["fits"]:
        if fit["name"] in ("domain", "vocabulary-ridge"):
            names, found = matrix_of(done, "places", fit["name"])
            assert found[names.index("home"), names.index("land")] == pytest.approx(fit["r"], abs=1e-4)


# --- more subjects -------------------------------------------------------------------------------------


def test_steps_are_nested_and_end_with_all_subjects() -> None:
    rows, fit = np.arange(100, 140), np.arange(0, 40, 2)
    taken = steps(rows, fit, (4, 20, 30, 40, 400))
    assert [step.subjects for step in taken] == [20, 30, 40]  # of the first 4 only 2 are fitted
    assert [len(step.rows) for step in taken] == [10, 15, 20]
    for before, after in pairwise(taken):
        assert set(before.rows) < set(after.rows)
    assert taken[-1].rows.tolist() == rows[fit].tolist()


@pytest.mark.parametrize("count", [*COUNTS, SUBJECTS])
def test_growth_is_a_fit_of_the_first_subjects_scored_on_the_same_rows(done: Study, count: int) -> None:
    [grown] = [g for g in done.document["study"]["growth"] if g["relation"] == "home-land"]
    points = {p["fit"]: p for p in grown["points"] if p["subjects"] == count}
    fit, test = done.rows(count)
    x, y = done.logits("home", CITIES), done.logits("land", COUNTRIES)
    model = LinearRegression().fit(x[fit], y[fit])
    assert points["domain"]["fitted"] == len(fit)
    assert points["domain"]["r"] == pytest.approx(mean_r(model.predict(x[test]), y[test]), abs=1e-4)
    strongest = model.coef_.T.argsort(axis=1)[:, ::-1]
    hits = points["domain"]["hits"]["influenced target"]
    for k in (1, 3, 5):
        assert hits[str(k)] == np.mean([i in row[:k] for i, row in enumerate(strongest)])
    whole, head = done.array("hidden/home") @ done.array("head/weight").T, points["vocabulary-ridge"]
    sigma = np.linalg.svd(whole[fit] - whole[fit].mean(axis=0), compute_uv=False)[0]
    ridge = Ridge(alpha=(head["root_penalty"] * sigma) ** 2, solver="svd").fit(whole[fit], y[fit])
    assert head["r"] == pytest.approx(mean_r(ridge.predict(whole[test]), y[test]), abs=1e-4)
    of_cities = ridge.coef_.T[done.ids("home", CITIES)].argsort(axis=0)[::-1]
    back = head["hits"]["influencing source"]
    for k in (1, 3, 5):
        assert back[str(k)] == np.mean([j in of_cities[:k, j] for j in range(len(COUNTRIES))])


def test_the_last_step_is_the_relations_own_fits(done: Study) -> None:
    for relation in done.document["relations"]:
        [grown] = [g for g in done.document["study"]["growth"] if g["relation"] == relation["name"]]
        last = {p["fit"]: p for p in grown["points"] if p["subjects"] == SUBJECTS}
        for fit in relation["fits"]:
            assert last[fit["name"]]["r"] == pytest.approx(fit["r"], abs=1e-4)


# --- found once ----------------------------------------------------------------------------------------


def test_matrices_and_growth_are_found_once(done: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("computed again")

    for module, name in ((matrix, "_all_pairs"), (growth, "_score")):
        monkeypatch.setattr(module, name, refuse)
    again = done()
    for part in ("matrices", "growth", "families"):
        assert again["study"][part] == done.document["study"][part]
    with pytest.raises(AssertionError, match="computed again"):
        done("--fit-rcond=0.01", "--debug")


def test_some_relations_may_be_followed_or_none(done: Study) -> None:
    assert done("--growth=none")["study"]["growth"] == []
    assert [g["relation"] for g in done("--growth=home-late")["study"]["growth"]] == ["home-late"]


# --- controls ------------------------------------------------------------------------------------------


def test_an_unrelated_pair_is_a_fit_to_another_familys_answers(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    assert relation["unrelated_pair"]["relation"] == "dish-taste"
    fit, test = done.rows()
    x, y = done.logits("home", CITIES), done.logits("taste", CITIES[6:])
    expected = mean_r(LinearRegression().fit(x[fit], y[fit]).predict(x[test]), y[test])
    domain = next(f for f in relation["fits"] if f["name"] == "domain")
    assert domain["r_unrelated"] == pytest.approx(expected, abs=1e-4)
    whole, ridge = done.array("hidden/home") @ done.array("head/weight").T, relation["fits"][-1]
    sigma = np.linalg.svd(whole[fit] - whole[fit].mean(axis=0), compute_uv=False)[0]
    model = Ridge(alpha=(ridge["root_penalty"] * sigma) ** 2, solver="svd").fit(whole[fit], y[fit])
    assert ridge["r_unrelated"] == pytest.approx(mean_r(model.predict(whole[test]), y[test]), abs=1e-4)


def test_identity_is_the_same_tokens_logit_after_the_sources_prompt(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    _, test = done.rows()
    ids = done.ids("land", COUNTRIES)
    same = (done.array("hidden/home") @ done.array("head/weight")[ids].T)[test]
    expected = mean_r(same, done.logits("land", COUNTRIES)[test])
    assert relation["identity"]["r"] == pytest.approx(expected, abs=1e-5)
    assert relation["identity"]["columns"] == len(COUNTRIES)


# --- families and paraphrases --------------------------------------------------------------------------


def test_a_family_is_the_mean_of_its_first_wordings(done: Study) -> None:
    families = {family["family"]: family for family in done.document["study"]["families"]}
    assert {name: family["relations"] for name, family in families.items()} == {
        "places": ["home-land", "home-late"],
        FAMILY: ["dish-taste"],
    }
    own = [r for r in done.document["relations"] if r["name"] in families["places"]["relations"]]
    for fit in families["places"]["fits"]:
        r = [f["r"] for relation in own for f in relation["fits"] if f["name"] == fit["name"]]
        assert (fit["r"], fit["r_std"]) == (pytest.approx(np.mean(r)), pytest.approx(np.std(r)))
        assert fit["hits"]["influenced target"]["of"] == 1  # only one has a truth
        assert (fit["r_low"], fit["r_high"]) == (None, None)  # of two relations nothing can be said
    assert families["places"]["coverage"]["source"] == {"whole": 1.0, "phrase": 0.0, "subword": 0.0}


def test_the_interval_over_relations_is_scipys() -> None:
    values = [0.2, 0.5, 0.55, 0.7, 0.9]
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval_over(values) == (
        pytest.approx(expected.low, abs=0.02),
        pytest.approx(expected.high, abs=0.02),
    )
    assert interval_over(values[:2]) == (None, None)


def test_wordings_of_a_relation_are_set_side_by_side(done: Study) -> None:
    [found] = done.document["study"]["paraphrases"]
    both = [r for r in done.document["relations"] if r["name"].startswith("home-land")]
    assert found["relation"] == "home-land"
    assert [texts[0] for texts in found["wordings"]] == [
        CATALOGUE["templates"]["home"],
        CATALOGUE["paraphrases"]["home"][0],
    ]
    for fit in found["fits"]:
        r = [f["r"] for relation in both for f in relation["fits"] if f["name"] == fit["name"]]
        assert fit["r"]["mean"] == pytest.approx(np.mean(r))
        assert fit["r"]["std"] == pytest.approx(np.std(r))
        assert (fit["r"]["lowest"], fit["r"]["highest"]) == (min(r), max(r))
    assert paraphrases_of(both[:1]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a-b.2", "a-b"), ("a-b", "a-b"), ("c.2", "c.2"), ("v1.x", "v1.x")],  # c itself is not there
)
def test_only_a_number_behind_a_known_name_is_a_further_wording(name: str, expected: str) -> None:
    assert first_wording(name, ["a-b", "a-b.2", "c.2", "v1", "v1.x"]) == expected


def test_every_wording_can_be_asked_for(done: Study) -> None:
    flags = [flag for flag in done.flags if not flag.startswith("--relations")]
    document = study_alone([*flags, "--relations=home-land,home-late", "--paraphrases", "--growth=none"])
    names = [relation["name"] for relation in document["relations"]]
    assert names == ["home-land", "home-land.2", "home-late", "home-late.2"]


# --- beside the paper, and generalisation --------------------------------------------------------------


def scored(name: str, r: float, hit1: float | None, family: str = "f") -> dict[str, Any]:
    hits = (
        None
        if hit1 is None
        else {"influenced target": {"1": hit1, "3": 0.5, "5": 0.6, "of": 9, "chance": {}}}
    )
    return {"name": name, "family": family, "fits": [{"name": "domain", "r": r, "hits": hits}]}


def test_the_papers_figures_stand_beside_ours_of_the_same_measure() -> None:
    rows = beside_paper([scored("city-country", 0.8, 0.3), scored("mine", 0.5, 0.1)])
    assert {row["relation"] for row in rows} == {"city-country"}
    of = {row["measure"]: row for row in rows}
    assert (of["pearson"]["paper"], of["pearson"]["ours"]) == (0.89, {"domain": 0.8})
    assert (of["influenced target@1"]["paper"], of["influenced target@1"]["ours"]) == (0.42, {"domain": 0.3})
    assert of["pearson"]["model"] == "llama-3-8b"
    assert "generalisation" not in of  # a study does not measure it
    assert "influencing source@1" not in of  # nor has this fit that direction


def test_gradient_correlations_stand_beside_the_papers() -> None:
    kept = [{"relation": "city-country", "fits": [{"name": "domain", "r": 0.7}]}]
    rows = beside_paper([scored("city-country", 0.8, 0.3), scored("ceo-company", 0.5, 0.1)], kept)
    found = {row["relation"]: row for row in rows if row["measure"] == "gradient"}
    assert set(found) == {"city-country"}
    assert (found["city-country"]["paper"], found["city-country"]["ours"]) == (0.79, {"domain": 0.7})


def test_edits_that_are_kept_stand_beside_precision(done: Study) -> None:
    found = done.document["study"]["generalisation"]
    assert [row["success"] for row in found["relations"]] == [0.5, 0.25]
    scores = done.document["relations"][0]["fits"][0]
    expected = {"hit1": scores["hits"]["influenced target"]["1"], "r": scores["r"]}
    assert found["relations"][0]["fits"]["domain"] == expected
    ranked = found["fits"]["domain"]
    assert ranked["relations"] == 1  # too few for any rank correlation
    assert {value for key, value in ranked.items() if key != "relations"} == {None}
    assert study_document(done.document["relations"])["generalisation"] is None


def test_growth_of_a_family_is_the_mean_over_its_relations() -> None:
    relations = [scored("a", 0.1, 0.1), scored("b", 0.1, None), scored("c", 0.1, None, family="g")]
    point = {"subjects": 9, "fitted": 5, "fit": "domain", "r": 0.2}
    hits = {"influenced target": {"1": 0.5, "3": 0.5, "5": 0.5, "of": 3, "chance": {"1": 0.1}}}
    points = {"a": [point | {"hits": hits}], "b": [point | {"r": 0.4, "hits": None}]}
    [found] = growth_by_family(relations, points)
    assert (found["family"], found["relations"]) == ("f", 2)
    assert found["points"][0]["r"] == pytest.approx(0.3)
    assert found["points"][0]["hits"]["influenced target"]["1"] == 0.5


# --- what is written -----------------------------------------------------------------------------------


def test_tables_are_written_twice_with_the_same_rows(done: Study) -> None:
    folder = done.folder / "run-report"
    names = ("scores", "links", "families", "matrix", "growth", "paraphrases", "generalisation")
    for name in names:
        from_csv = pandas.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
        from_parquet = pandas.read_parquet(folder / f"{name}.parquet")
        assert list(from_csv.columns) == list(from_parquet.columns)
        assert len(from_csv) == len(from_parquet) > 0
        for column in from_csv.columns:
            known = from_parquet[column].notna()
            if pandas.api.types.is_float_dtype(from_parquet[column]):
                left, right = from_csv[column][known].astype(float), from_parquet[column][known]
                assert np.allclose(left, right)
            else:
                assert (
                    from_csv[column][known].astype(str).tolist()
                    == from_parquet[column][known].astype(str).tolist()
                )
    assert not (folder / "paper.csv").exists()  # the paper has none of these relations
    scores = pandas.read_parquet(folder / "scores.parquet")
    assert set(scores["relation"]) == set(RELATIONS)
    assert scores["identified"].dtype == bool


def test_the_page_shows_a_study_and_escapes_it(done: Study) -> None:
    page = (done.folder / "run-report" / "report.html").read_text("utf-8")
    assert "Every prompt to every other: places, domain" in page
    assert "More subjects: places" in page
    assert "Does precision go with generalisation?" in page
    assert "The paper reports no figure of these relations." in page
    assert FAMILY not in page
    assert "&lt;b&gt;food&lt;/b&gt; &amp; more" in page
    folder = done.folder / "run-report"
    pngs = {path.name for path in folder.glob("report-*.png")}
    assert {"report-matrix-1.png", "report-growth-1.png"} <= pngs


def test_tables_fit_a_terminal(
    done: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    paper = [scored("city-country", 0.8, 0.3)]
    print_study(done.document | {"study": done.document["study"] | {"paper": beside_paper(paper)}})
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for words in ("home-land", "places (2)", "influenced target", "influencing source", "llama-3-8b", "0.89"):
        assert words in shown


def test_a_dataset_has_the_documents_figures(done: Study) -> None:
    found = done.store.maps.scores_dataset(RELATIONS)
    assert found.sizes == {"relation": 4, "fit": 4, "direction": 2, "k": 3}
    for relation in done.document["relations"]:
        for fit in relation["fits"]:
            cell = found.sel(relation=relation["name"], fit=fit["name"])
            assert float(cell.r) == fit["r"]
            if fit["hits"]:
                assert (
                    float(cell.hit.sel(direction="influencing source", k=3))
                    == (fit["hits"]["influencing source"]["3"])
                )
            else:
                assert np.isnan(cell.hit).all()
    assert found.family.sel(relation="dish-taste").item() == FAMILY
    assert set(done.store.maps.scores_dataset().relation.values) >= set(RELATIONS)


def test_a_study_is_of_scores_alone() -> None:
    """The document's part can be made of scores without matrices, growth or edits."""
    relation = scored("a", 0.5, 0.2)
    fit = relation["fits"][0] | {"label": "domain"} | dict.fromkeys(families._CONTROLS, 0.1)
    sides = {
        role: {"text": "{}", "coverage": {"whole": 3, "phrase": 1, "subword": 0}}
        for role in ("source", "target")
    }
    found = study_document([relation | sides | {"identity": {"r": None}, "fits": [fit]}])
    assert found["families"][0]["coverage"]["source"]["whole"] == 0.75
    assert (found["paper"], found["matrices"], found["growth"]) == (None, [], [])


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--growth=home-town", "--relations=home-town"])
def test_an_unknown_relation_is_refused(done: Study, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *done.flags, flag]) == 2
    shown = capsys.readouterr().err.strip()
    assert "home-town" in shown
    assert len(shown.splitlines()) == 1
