"""Edits of a toy model through the command line, against Hugging Face, torch, SciPy and scikit-learn."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.errors import BadInput
from lincorr.prompts.columns import Columns
from lincorr.scores.documents import to_json
from lincorr.scores.experiments import EditScores
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.evaluate.experiments import stored_edits
from pipeline.evaluate.generalisation import (
    across_paper,
    across_relations,
    partial_correlation,
)
from pipeline.experiments import edit as editing
from pipeline.experiments.edit import require_editable
from pipeline.experiments.edit_scores import Outcome, auc, edit_scores
from tests.pipeline.experiments.finished import TEXTS, finished_run
from tests.scores import edit_scores_of, scored

EDITS = 6


@pytest.fixture(scope="module")
def flags(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A finished run of a relation with a truth, and of one without."""
    folder = tmp_path_factory.mktemp("edit")
    sides: dict[str, Any] = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    truth = [list(pair) for pair in zip(CITIES[:4], COUNTRIES[:4], strict=True)]
    relations = {"toy": sides | {"truth": truth}, "blind": sides}
    return finished_run(folder, toy_model, relations, "toy", "blind")


@pytest.fixture
def edit(flags: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def edit(*more: object) -> dict[str, Any]:
        capsys.readouterr()
        arguments = ["--edits", EDITS, "--rate", 0.05, *more]
        assert main(["edit", *flags, *map(str, arguments), "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return edit


def store_of(flags: list[str]) -> LogitStore:
    return LogitStore.open(flags[flags.index("--store") + 1])


def test_an_edit_is_what_torch_makes_of_it(
    edit: Callable[..., dict[str, Any]], flags: list[str], toy_model: Path
) -> None:
    """The first case again, by hand: answers, movement, weights, and the movement that W predicts."""
    files = {path: path.read_bytes() for path in toy_model.iterdir()}
    found = edit()["relations"][0]
    assert found["took"] == 1.0
    assert {path: path.read_bytes() for path in toy_model.iterdir()} == files
    case, store = found["cases"][0], store_of(flags)
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    token = {text: tokenizer.encode(text)[0] for text in (*(f" {c}" for c in CITIES + COUNTRIES),)}
    cities, countries = ([token[f" {name}"] for name in names] for names in (CITIES, COUNTRIES))
    subjects = store.subjects()
    subject = int(subjects.ids[subjects.texts.index(case["subject"])])
    model = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32)
    prompts = [
        torch.tensor([[subject, *tokenizer.encode(text.removeprefix("{}"))]]) for text in TEXTS.values()
    ]

    def ask() -> list[np.ndarray]:
        return [model(prompt).logits[0, -1].detach().double().numpy() for prompt in prompts]

    before = ask()
    trained = [weight for name, weight in model.named_parameters() if ".layers." in name]
    for _ in range(case["steps"]):
        loss = -model(prompts[0]).logits[0, -1].log_softmax(0)[token[case["source"]]]
        for weight, slope in zip(trained, torch.autograd.grad(loss, trained), strict=True):
            weight.data -= 0.05 * slope
    after = ask()
    assert case["before"] == f" {COUNTRIES[before[1][countries].argmax()]}"
    assert case["after"] == f" {COUNTRIES[after[1][countries].argmax()]}"
    assert case["source"] == f" {CITIES[after[0][cities].argmax()]}"
    right = COUNTRIES[CITIES.index(case["source"].strip())]
    assert case["right"] == [f" {right}"]
    assert case["generalised"] == (case["after"] == f" {right}")
    for name, fit in found["fits"].items():
        fitted = store.maps.load("toy", name)
        weights = fitted.block(fitted.source_ids.tolist(), countries)
        moved = (after[0] - before[0])[fitted.source_ids]
        predicted = weights.T @ moved
        expected = pearsonr(predicted, (after[1] - before[1])[countries]).statistic
        assert case["movement_r"][name] == pytest.approx(expected, abs=1e-3)
        row = fitted.block([token[case["source"]]], countries)[0]
        row = row - sum(row) / len(row)  # weights of different sources are compared
        told = case["weights"][name]
        assert told["reference"] == pytest.approx(row[COUNTRIES.index(right)])
        assert told["generalised"] == pytest.approx(row[COUNTRIES.index(case["after"].strip())])
        assert (told["largest"], told["top"]) == (pytest.approx(row.max()), f" {COUNTRIES[row.argmax()]}")
        assert fit["movement_r"] == pytest.approx(np.mean([c["movement_r"][name] for c in found["cases"]]))
    assert list(found["fits"]) == ["domain", "vocabulary-ridge"]


def test_every_edit_is_another_fact_about_another_held_out_subject(
    edit: Callable[..., dict[str, Any]], flags: list[str]
) -> None:
    found = edit()["relations"][0]
    assert found["edits"] == 4  # all that have a truth, of the 6 that are asked for
    cases = found["cases"]
    assert len({case["source"] for case in cases}) == len({case["subject"] for case in cases}) == 4
    assert edit("--edits", 3)["relations"][0]["edits"] == 3
    other = edit("--seed", 1)["relations"][0]["cases"]
    assert [case["subject"] for case in other] != [case["subject"] for case in cases]


def test_what_is_kept_is_read_and_what_is_found_again_is_the_same(
    edit: Callable[..., dict[str, Any]], flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = edit()["relations"]
    edit("--edits", "3")
    assert edit()["relations"] == first
    assert to_json(stored_edits(store_of(flags), ["blind", "toy"])) == first
    monkeypatch.setattr(editing, "edit_facts", lambda task: pytest.fail("an edit was made again"))
    assert edit()["relations"] == first


def test_workers_find_the_same(edit: Callable[..., dict[str, Any]]) -> None:
    first = edit()["relations"][0]
    edit("--edits", "3")
    again = edit("--cluster-kind", "local", "--cluster-workers", "2")["relations"][0]
    assert [case["after"] for case in again["cases"]] == [case["after"] for case in first["cases"]]
    r = first["fits"]["domain"]["movement_r"]
    # training is in float32, and a worker's sums run in another order: it has one thread
    assert again["fits"]["domain"]["movement_r"] == pytest.approx(r, rel=1e-4)


def test_a_relation_without_a_truth_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", *flags, "--relations", "toy,blind"]) == 2
    assert "relation 'blind': no right target is known" in capsys.readouterr().err


def test_of_a_family_relations_without_a_truth_are_left_out(edit: Callable[..., dict[str, Any]]) -> None:
    found = edit("--relations", "family:custom")
    assert [relation["relation"] for relation in found["relations"]] == ["toy"]


def test_too_few_subjects_are_refused() -> None:
    relation: Any = SimpleNamespace(name="r", truth={1: (2,)})
    require_editable([relation], 5)
    with pytest.raises(BadInput, match=r"subjects\.count: 4 subjects are held out"):
        require_editable([relation], 4)
    with pytest.raises(BadInput, match="no right target is known of any"):
        require_editable([], 5)


@pytest.mark.parametrize("rate", [1e-30, 1e30], ids=["too small", "too large"])
def test_what_does_not_take_is_not_judged(edit: Callable[..., dict[str, Any]], rate: float) -> None:
    found = edit("--rate", rate, "--steps", 2, "--edits", 2)
    [relation] = found["relations"]
    assert relation["took"] == 0.0
    assert relation["success"] is None
    assert relation["cases"] == []
    assert edit()["relations"][0]["took"] == 1.0  # the next edits begin from the original weights


def test_the_tables_name_every_case(
    flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["edit", *flags, "--edits", str(EDITS), "--rate", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("✓") + printed.count("✗") == 4 + 2  # two in the heading
    assert "Spearman's rho of right with hit@1 0.93, with r -0.14, with random " in printed


# What is made of outcomes


def outcome(source: int, after: int, moved: list[float], **changes: Any) -> Outcome:
    return replace(
        Outcome(
            source=source,
            subject="x",
            right=(source + 10,),
            steps=3,
            took=True,
            before=12,
            after=after,
            moved=moved,
            predicted={"domain": [0.0, 1.0, 3.0]},
            unrelated_moved=1.0,
            unrelated_changed=0.5,
            unrelated_learnt=0.25,
        ),
        **changes,
    )


def test_rates_and_readings_of_a_worked_example() -> None:
    weights = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])
    fitted: Any = SimpleNamespace(
        block=lambda sources, targets: weights[np.ix_(sources, np.array(targets) - 10)]
    )
    targets = ("a", "b", "c")
    columns = Columns(np.array([10, 11, 12]), targets, targets, (True,) * 3, {})
    relation: Any = SimpleNamespace(name="r", target=columns)
    outcomes = [
        outcome(0, 10, [3.0, 0.0, 0.0]),
        outcome(1, 12, [0.0, 1.0, 2.0]),
        outcome(2, 12, [0.0, 0.0, 1.0], unrelated_moved=2.0),
        outcome(1, 11, [0.0, 1.0, 0.0], took=False),
    ]
    found = edit_scores(relation, outcomes, {"domain": fitted}, [f"t{i}" for i in range(20)])
    assert (found.edits, found.took) == (4, 0.75)
    assert found.success == pytest.approx(2 / 3)
    assert found.before == pytest.approx(1 / 3)
    assert found.gained == pytest.approx(1 / 2)  # 2 was right before
    assert found.unchanged == pytest.approx(2 / 3)
    assert found.random == pytest.approx(1 / 3)
    spreads = [np.std(o.moved) for o in outcomes[:3]]
    assert found.unrelated.moved == pytest.approx(np.mean(np.array([1, 1, 2]) / spreads))
    fit = found.fits["domain"]
    r = [pearsonr([0.0, 1.0, 3.0], o.moved).statistic for o in outcomes[:3]]
    assert fit.movement_r == pytest.approx(np.mean(r))
    assert fit.movement_r_std == pytest.approx(np.std(r))
    assert fit.movement_r_other_edit == pytest.approx(np.mean(r))  # all predictions are the same here
    assert fit.top_is_right == pytest.approx(2 / 3)  # of 0 and 1, not of 2
    assert (fit.success_if_top_is_right, fit.success_if_not) == (0.5, 1.0)
    assert fit.top_is_answer == pytest.approx(1 / 3)
    assert fit.reference_if_generalised == pytest.approx((0.9 + 0.4) / 2)
    assert fit.reference_if_hallucinated == pytest.approx(0.5)
    assert fit.auc == 0.5
    standing = [
        (moved[i] - np.mean(moved)) / np.std(moved) for i, moved in enumerate(o.moved for o in outcomes[:3])
    ]
    assert fit.spearman == pytest.approx(spearmanr([0.9, 0.5, 0.4], standing).statistic)
    assert [case.weights["domain"].generalised for case in found.cases] == [0.9, 0.3, 0.4]
    assert found.cases[2].weights["domain"].top == "t10"


def test_the_area_under_the_curve_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(8, size=50).astype(float)  # with ties
    positive = rng.random(50) < 0.3
    assert auc(values, positive) == pytest.approx(roc_auc_score(positive, values))
    assert np.isnan(auc(values, np.zeros(50, bool)))


def edits_of(success: dict[str, float | None]) -> list[EditScores]:
    return [edit_scores_of(name, value, random=1 / (3 + ord(name) % 5)) for name, value in success.items()]


def test_over_relations_it_is_scipys_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    r, hit1, success = rng.random((3, 9)).round(1)  # with ties
    scores = [scored(str(i), float(r[i]), float(hit1[i])) for i in range(9)] + [scored("unasked", 0.1, 0.1)]
    edited = edits_of({str(i): float(success[i]) for i in reversed(range(9))})
    found = across_relations(edited, scores).fits["domain"]
    assert found.relations == 9
    assert found.hit1 == pytest.approx(spearmanr(hit1, success).statistic)
    assert found.r == pytest.approx(spearmanr(r, success).statistic)
    random = {edits.relation: edits.random for edits in edited}
    expected = spearmanr([random[str(i)] for i in range(9)], success).statistic
    assert found.random == pytest.approx(expected)
    for change in ({"edits": 4}, {"took": 4 / 32}):
        few = [replace(edits, **change) if edits.relation == "3" else edits for edits in edited]
        assert across_relations(few, scores).fits["domain"].relations == 8


def test_a_partial_correlation_is_that_of_what_regression_leaves() -> None:
    a, b, c = np.random.default_rng(0).standard_normal((3, 40)) @ np.diag(np.linspace(0.5, 2, 40))
    a, b = a + c, b - 0.5 * c
    left = [y - LinearRegression().fit(c[:, None], y).predict(c[:, None]) for y in (a, b)]
    pairs = (pearsonr(*pair).statistic for pair in ((a, b), (a, c), (b, c)))
    assert partial_correlation(*pairs) == pytest.approx(pearsonr(*left).statistic)
    assert np.isnan(partial_correlation(0.5, 1.0, 0.5))


def test_of_three_relations_there_is_no_partial_correlation() -> None:
    """It would be 1 or -1: two rankings less a third have one dimension left."""
    scores = [
        scored(n, r, hit)
        for n, r, hit in zip("abcd", (0.1, 0.3, 0.2, 0.6), (0.4, 0.1, 0.3, 0.2), strict=True)
    ]
    edited = edits_of({"a": 0.4, "b": 0.3, "c": 0.8, "d": 0.1})
    three, four = (across_relations(edited[:n], scores).fits["domain"] for n in (3, 4))
    assert three.hit1 is not None
    assert (three.hit1_given_random, three.r_given_random) == (None, None)
    assert None not in (four.hit1_given_random, four.r_given_random)


def test_what_lacks_a_figure_is_no_part_of_a_rank_correlation() -> None:
    scores = [scored("a", 0.1, 0.1), scored("b", 0.2, 0.3), scored("c", 0.3, None), scored("d", 0.4, 0.4)]
    edited = edits_of({"a": 0.1, "b": 0.2, "c": 0.3, "d": None})
    found = across_relations(edited, scores).fits["domain"]
    assert found.relations == 2
    assert (found.hit1, found.r) == (None, None)  # too few
    level = across_relations(
        edits_of(dict.fromkeys("abc", 0.5)), [scored(n, 0.1 * i, 0.1 * i) for i, n in enumerate("abc")]
    )
    assert level.fits["domain"].r is None


def test_the_papers_own_tables_favour_precision() -> None:
    found = across_paper().fits["domain"]
    assert found.relations == 8
    assert found.hit1 == pytest.approx(0.93, abs=0.005)
    assert found.r == pytest.approx(-0.14, abs=0.005)
