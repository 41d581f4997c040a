"""A relation in several wordings: which one is chosen, by what, and what is read of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge

from lincorr.testing import CITIES, COUNTRIES, toy_relation
from pipeline.cli.main import main
from pipeline.cli.settings import settings_of
from pipeline.explore.paths import Paths
from tests.commands import flags_of, json_of
from tests.pipeline.run.runner import Runner, runner
from tests.plots import blank_plots
from tests.stores import array

TEMPLATES = {"home": "{} lives in the city of", "land": "{} lives in the country of"}
PARAPHRASES = {
    "home": ["The city of {} is", "{} in the city of"],
    "land": ["The country of {} is", "{} in the country of"],
}
NAMES = ["toy", "toy.2", "toy.3"]


def with_wordings(run: Runner) -> Runner:
    path = run.folder / "toy.yaml"
    relations = {"toy": toy_relation("home", "land")}
    declared = {"templates": TEMPLATES, "paraphrases": PARAPHRASES, "relations": relations}
    path.write_text(yaml.safe_dump(declared))
    return run


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    """A whole run, only to be read."""
    run = with_wordings(runner(tmp_path_factory.mktemp("worded"), toy_model))
    run.flags["wordings"] = "chosen"
    with blank_plots():
        run.document = run("run")
    return run


def left_out_r(x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    """Mean r of predictions of each row by a fit to the others."""
    rows = np.arange(len(x))
    predicted = np.array(
        [
            Ridge(alpha=penalty, solver="svd").fit(x[rows != i], y[rows != i]).predict(x[i : i + 1])[0]
            for i in rows
        ]
    )
    return float(np.mean(pearsonr(predicted, y, axis=0).statistic))


@pytest.mark.parametrize("name", NAMES)
def test_leave_one_out_is_that_of_as_many_fits(worded: Runner, name: str) -> None:
    [found] = worded.document["wordings"]
    [wording] = [wording for wording in found["wordings"] if wording["name"] == name]
    arrays, head = worded.arrays(), worded.arrays()["head/weight"].astype(float)
    source, target = (side + name.removeprefix("toy") for side in ("home", "land"))
    y = arrays[f"logits/{target}"][::2].astype(float)
    centred = y - y.mean(axis=1, keepdims=True)
    bases = {
        "domain": arrays[f"logits/{source}"][::2].astype(float),
        "vocabulary": arrays[f"hidden/{source}"][::2].astype(float) @ head.T,
    }
    for basis, x in bases.items():
        penalty = worded.store.maps.diagnosis(name, f"{basis}-ridge").penalty
        expected = (left_out_r(x, y, penalty) + left_out_r(x, centred, penalty)) / 2
        assert wording["loo_r"][basis] == pytest.approx(expected, abs=1e-4)


def test_the_best_left_out_r_is_chosen_and_read_beside_the_first(worded: Runner) -> None:
    [found] = worded.document["wordings"]
    assert [wording["name"] for wording in found["wordings"]] == NAMES
    r = {wording["name"]: sum(wording["loo_r"].values()) for wording in found["wordings"]}
    assert len(set(r.values())) == 3
    assert found["chosen"] == max(r, key=lambda name: r[name])
    read = [relation["name"] for relation in worded.document["relations"]]
    assert read == list(dict.fromkeys(["toy", found["chosen"]]))


def test_the_truth_has_no_part_in_the_choice(worded: Runner, run: Runner) -> None:
    with_wordings(run)
    path = run.folder / "toy.yaml"
    declared = yaml.safe_load(path.read_text())
    pairs = declared["relations"]["toy"]["truth"]
    declared["relations"]["toy"]["truth"] = [[source, pairs[i - 1][1]] for i, (source, _) in enumerate(pairs)]
    path.write_text(yaml.safe_dump(declared))
    changed = run("run", wordings="chosen")
    [after], [before] = changed["wordings"], worded.document["wordings"]
    assert after | {"pooled": None} == before | {"pooled": None}
    hits = [fit["hits"] for fit in changed["relations"][0]["fits"]]
    assert hits != [fit["hits"] for fit in worded.document["relations"][0]["fits"]]


def test_all_wordings_or_only_the_first_can_be_read_from_the_same_store(
    worded: Runner, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    every = json_of("evaluate", *flags_of(worded.flags | {"wordings": "all", "report-folder": report}))
    assert [relation["name"] for relation in every["relations"]] == NAMES
    assert every["wordings"] == worded.document["wordings"]
    first = json_of("evaluate", *flags_of(worded.flags | {"wordings": "paper", "report-folder": report}))
    assert [relation["name"] for relation in first["relations"]] == ["toy"]
    assert "wordings" not in first


def test_every_map_is_asked_once_how_well_it_predicts(
    worded: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a few requests to a bucket."""
    read: list[tuple[str, str]] = []
    maps: Any = type(worded.store.maps)
    plain = maps.diagnosis

    def counted(self: Any, relation: str, fit: str) -> Any:
        read.append((relation, fit))
        return plain(self, relation, fit)

    monkeypatch.setattr(maps, "diagnosis", counted)
    json_of("evaluate", *flags_of(worded.flags))
    assert sorted(read) == [(name, f"{basis}-ridge") for name in NAMES for basis in ("domain", "vocabulary")]


def test_all_wordings_are_read_together(worded: Runner) -> None:
    [found] = worded.document["wordings"]
    url = str(worded.flags["store"])
    cities, countries = ([t.strip() for t in array(url, f"columns/{side}/text")] for side in ("home", "land"))
    ids = [array(url, f"columns/{side}/id").tolist() for side in ("home", "land")]
    total = np.zeros((len(cities), len(countries)))
    for wording in found["wordings"]:
        block = worded.store.maps.load(wording["name"], "vocabulary-ridge").block(*ids).astype(float)
        block -= block.mean(axis=1, keepdims=True)
        squared = np.mean(list(wording["loo_r"].values())) ** 2
        total += squared / (1 - squared) * block / np.sqrt((block**2).sum())
    right = dict(zip(CITIES, COUNTRIES, strict=True))
    at_1 = np.mean([right[city] == countries[row.argmax()] for city, row in zip(cities, total, strict=True)])
    rates = found["pooled"]["influenced target"]
    assert (rates["1"], rates["of"]) == (pytest.approx(at_1), len(CITIES))


def test_a_word_is_shown_in_the_chosen_wording(worded: Runner) -> None:
    [found] = worded.document["wordings"]
    for fit in ("domain", "vocabulary-ridge"):
        [shown] = json_of("show", "Rome", *flags_of(worded.flags), f"--map={fit}")
        assert shown["relation"] == found["chosen"]


def test_every_wording_can_be_followed_along_its_path(worded: Runner) -> None:
    config = settings_of(None, {"store.path": str(worded.flags["store"])})
    assert config.wordings == "chosen"
    paths = Paths(config, worded.store)
    assert [paths.why_not(name, "vocabulary-ridge") for name in NAMES] == [None] * 3


def test_a_choice_needs_its_maps(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    with_wordings(run)
    run("extract", wordings="chosen")
    assert main(["evaluate", *flags_of(run.flags | {"wordings": "chosen"})]) == 2
    assert "run `lincorr fit` first" in capsys.readouterr().err


def test_the_table_names_every_wording(worded: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *flags_of(worded.flags)]) == 0
    shown = capsys.readouterr().out
    for text in (*PARAPHRASES["home"], "(chosen", "in 3 wordings"):
        assert text in shown
    assert max(map(len, shown.split("1: ")[0].splitlines())) <= 80
