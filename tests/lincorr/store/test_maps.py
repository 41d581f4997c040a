"""Maps and scores: stored, replaced, unfinished, and damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, StoreDamaged
from lincorr.readout import Readout
from lincorr.scores.documents import SCHEMA
from lincorr.scores.relation_scores import ColumnScore
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, HiddenMap, LinearMap, PathPoint, RidgePath, map_through
from lincorr.store.seal import seal
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import HEAD, IDENTITY, VOCABULARY, make, refusal, spoilt

PATH = RidgePath((PathPoint(0.0, float("nan")), PathPoint(0.1, 0.8)), best=0.1, reading=0.1)


def matrix(rows: int, columns: int) -> NDArray[np.float64]:
    return np.random.default_rng(rows).standard_normal((rows, columns))


def diagnosis(path: RidgePath | None = None) -> Diagnosis:
    cut = Cut(3, 0.1, 0.2, 9.0, 1.0, 0.05)
    return Diagnosis("direct", "small", 8, cut, 0.5, 0.1, 1e-16, 0.0, path, loo_r=0.75)


def dense_map(path: RidgePath | None = None) -> LinearMap:
    return LinearMap(np.arange(6), np.array([3, 11, 5, 0]), matrix(6, 4), np.arange(4.0), diagnosis(path))


def factored_map() -> LinearMap:
    hidden = HiddenMap(
        matrix(5, 5), matrix(5, 1)[:, 0], matrix(5, 5), matrix(5, 2)[:, 0], HEAD.columns(TARGETS)
    )
    return map_through(
        hidden,
        HEAD.columns(np.arange(6)),
        source_ids=np.arange(6),
        target_ids=TARGETS,
        diagnosis=diagnosis(),
    )


TARGETS = np.array([3, 11, 5, 0])

MAPS = {"dense": dense_map(), "factors": factored_map()}


@pytest.mark.parametrize("fitted", MAPS.values(), ids=MAPS.keys())
def test_a_map_comes_back_as_it_was(url: Path, fitted: LinearMap) -> None:
    make(url).maps.save("lives-in", "domain", fitted, "digest")
    maps = LogitStore.open(str(url)).maps
    found = maps.load("lives-in", "domain")
    assert maps.relations() == ["lives-in"]
    assert maps.inputs("lives-in", "domain") == "digest"
    assert found.diagnosis == fitted.diagnosis
    assert type(found.weights) is type(fitted.weights)
    logits, hidden = matrix(3, 6), matrix(3, 5)
    np.testing.assert_array_equal(found.predict(logits), fitted.predict(logits))
    np.testing.assert_array_equal(found.block([4, 1], [11]), fitted.block([4, 1], [11]))
    if fitted.hidden is not None:
        np.testing.assert_array_equal(found.predict_from_hidden(hidden), fitted.predict_from_hidden(hidden))


def test_a_map_through_hidden_states_has_every_target(url: Path) -> None:
    make(url).maps.save("lives-in", "vocabulary", MAPS["factors"], "digest")
    found = LogitStore.open(str(url)).maps.load("lives-in", "vocabulary", np.arange(VOCABULARY))
    assert found.weights.shape == (6, VOCABULARY)
    np.testing.assert_array_equal(found.block([2], [11]), MAPS["factors"].block([2], [11]))


def test_a_map_takes_its_own_columns_of_the_head_alone(url: Path) -> None:
    make(url).maps.save("lives-in", "domain", MAPS["factors"], "digest")
    make(url.with_name("other")).maps.save("lives-in", "domain", MAPS["dense"], "digest")
    asked: list[list[int]] = []

    def columns(ids: NDArray[np.int64]) -> Readout:
        asked.append(ids.tolist())
        return HEAD.columns(ids).as_float64()

    for place in (url, url.with_name("other")):  # that from logits takes none
        LogitStore.open(str(place)).maps.load("lives-in", "domain", columns=columns)
    assert asked == [TARGETS.tolist(), list(range(6))]


def test_a_map_from_logits_has_its_own_targets_only(url: Path) -> None:
    make(url).maps.save("lives-in", "domain", MAPS["dense"], "digest")
    maps = LogitStore.open(str(url)).maps
    assert "its own targets" in refusal(BadInput, lambda: maps.load("lives-in", "domain", np.arange(2)))


def test_a_path_with_a_score_that_is_not_known_comes_back(url: Path) -> None:
    maps = LogitStore.create(str(url), IDENTITY).maps
    maps.save("lives-in", "ridge", dense_map(PATH), "digest")
    found = maps.load("lives-in", "ridge").diagnosis.path
    assert found is not None
    assert np.isnan(found.points[0].score)
    assert (found.points[1], found.best, found.reading) == (PATH.points[1], 0.1, 0.1)


def test_a_map_is_replaced_whole(url: Path) -> None:
    maps = make(url).maps
    maps.save("lives-in", "domain", MAPS["factors"], "one")
    maps.save("lives-in", "domain", MAPS["dense"], "two")
    found = maps.load("lives-in", "domain")
    assert isinstance(found.weights, np.ndarray)
    assert found.hidden is None
    assert maps.inputs("lives-in", "domain") == "two"


def test_a_map_that_was_not_finished_is_none(url: Path) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    store.maps.save("lives-in", "domain", MAPS["dense"], "digest")
    group = zarr.open_group(str(url), path="maps/lives-in/domain", mode="r+")
    del group.attrs["inputs"]
    store = LogitStore.open(str(url))
    assert store.maps.inputs("lives-in", "domain") is None
    assert "has no map 'lives-in' / 'domain'" in refusal(
        BadInput, lambda: store.maps.load("lives-in", "domain")
    )


@spoilt
@pytest.mark.parametrize(
    ("fit", "part"),
    [("dense", "weights"), ("dense", "intercept"), ("dense", "source_ids"), ("factors", "hidden_core")],
)
def test_a_spoilt_map_is_found(url: Path, fit: str, part: str, spoil: Callable[[Path], None]) -> None:
    maps = make(url).maps
    maps.save("lives-in", "domain", MAPS[fit], "digest")
    folder = url / "maps" / "lives-in" / "domain" / part / "c"
    spoil(next(path for path in folder.rglob("*") if path.is_file()))
    assert "is damaged" in refusal(StoreDamaged, lambda: maps.load("lives-in", "domain"))


def test_scores_come_back_and_are_missed(url: Path) -> None:
    maps = LogitStore.create(str(url), IDENTITY).maps
    assert "has no scores of 'lives-in'" in refusal(
        BadInput, lambda: maps.load_scores("lives-in", ColumnScore)
    )
    assert maps.score_inputs("lives-in") is None
    maps.save_scores("lives-in", ColumnScore(" Paris", 0.5, float("nan")), "digest")
    assert maps.score_inputs("lives-in") == "digest"
    stored = LogitStore.open(str(url)).maps
    assert stored.load_scores("lives-in", ColumnScore) == ColumnScore(" Paris", 0.5, None)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ({"token": "a", "r": 0.5, "spearman": 0.5}, "has no schema version"),  # of an early lincorr
        ({"schema": SCHEMA + 1, "token": "a", "r": 0.5, "spearman": 0.5}, f"has schema version {SCHEMA + 1}"),
        ({"schema": SCHEMA, "token": "a", "r": 0.5}, "cannot be read (spearman is missing)"),
    ],
)
def test_scores_of_another_version_are_refused(url: Path, stored: dict[str, object], why: str) -> None:
    maps = LogitStore.create(str(url), IDENTITY).maps
    maps.save_scores("lives-in", ColumnScore("a", 0.5, 0.5), "digest")
    text = json.dumps(stored)
    zarr.open_group(str(url))["scores/lives-in"].attrs.update({"scores": text, "seal": seal(text)})
    words = refusal(BadInput, lambda: maps.load_scores("lives-in", ColumnScore))
    assert why in words
    assert "run `lincorr evaluate` again" in words
