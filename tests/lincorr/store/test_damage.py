"""Every zarr.json that is missing, cut or another's is found; what follows from the rest is written anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.prompts.subjects import string_subjects
from lincorr.scores.relation_scores import ColumnScore
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import (
    CITY,
    COLUMNS,
    HEAD,
    IDENTITY,
    LETTERS,
    LOGITS,
    make,
    refusal,
    spoilt,
)
from tests.lincorr.store.test_maps import MAPS


def whole(url: Path) -> LogitStore:
    """A store with two maps, tiles of a third, and scores."""
    store = make(url)
    for name in MAPS:
        store.maps.save("lives-in", name, MAPS[name], name)
    dense = MAPS["dense"]
    store.maps.create_tiles("lives-in", "tiled", np.shape(dense.weights), 2, "scratch")
    p, q = np.shape(dense.weights)
    for i in range(-(-p // 2)):
        for j in range(-(-q // 2)):
            tile = np.asarray(dense.weights)[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            store.maps.write_tile("lives-in", "tiled", i, j, tile, "scratch")
    store.maps.finish_tiles(
        "lives-in",
        "tiled",
        source_ids=dense.source_ids,
        target_ids=dense.target_ids,
        intercept=dense.intercept,
        diagnosis=dense.diagnosis,
        inputs="tiled",
    )
    store.maps.save_scores("lives-in", ColumnScore("a", 0.5, 0.25), "digest")
    assert store.verify() == []
    return store


def described(url: Path) -> list[str]:
    """The keys of all groups and arrays but the root."""
    whole(url)
    return [
        str(path.parent.relative_to(url)) for path in sorted(url.rglob("zarr.json")) if path.parent != url
    ]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return described(tmp_path_factory.mktemp("keys") / "run.zarr")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def replace(path: Path) -> None:
    path.write_text("[]")


RESTORED = ("columns", "done", "hidden", "logits", "maps", "scores", "subjects")


def is_restored(key: str) -> bool:
    """Whether `extract` writes it anew: all but tables and head."""
    return key.split("/")[0] in RESTORED and not key.endswith(("/id", "/text", "/class"))


@pytest.mark.parametrize("spoil", [Path.unlink, cut, replace])
def test_every_description_that_is_spoilt_is_found_and_told_in_a_line(
    url: Path, keys: list[str], spoil: Callable[[Path], None]
) -> None:
    whole(url)
    for key in keys:
        path = url / key / "zarr.json"
        before = path.read_bytes()
        spoil(path)
        faults = LogitStore.open(str(url)).verify()
        # what says nothing, and a result that is that file: where it is gone there is none
        if key != "maps/lives-in" and not (key.startswith("scores/") and spoil is Path.unlink):
            assert len(faults) == 1, key
            assert "\n" not in faults[0]
            assert key.removesuffix("/weight") in faults[0] or key.startswith(("head", "maps")), key
        path.write_bytes(before)
    assert LogitStore.open(str(url)).verify() == []


@pytest.mark.parametrize("spoil", [Path.unlink, cut, replace])
def test_what_follows_from_the_rest_is_written_anew_and_no_data_are_lost(
    url: Path, keys: list[str], spoil: Callable[[Path], None]
) -> None:
    whole(url)
    for key in filter(is_restored, keys):
        if not key.startswith(("maps/", "scores/")) and key != "columns/city":  # which knows the text
            spoil(url / key / "zarr.json")
    LogitStore.open(str(url), write=True).add_subjects(string_subjects(LETTERS))
    store = LogitStore.open(str(url))
    assert store.verify() == []
    assert store.templates() == [CITY]
    np.testing.assert_array_equal(store.dataset("city").logits.values, LOGITS[:, COLUMNS.ids])


def test_a_text_that_nothing_remembers_is_told(url: Path) -> None:
    make(url)
    for part in ("columns", "logits", "hidden"):
        cut(url / part / "city" / "zarr.json")
    store = LogitStore.open(str(url))
    assert "city/zarr.json" in refusal(StoreDamaged, store.templates)
    [fault] = store.verify()
    assert "city/zarr.json" in fault


# --- maps and scores ----------------------------------------------------------------------------------


@spoilt
@pytest.mark.parametrize("fit", [*MAPS, "tiled"])
def test_every_spoilt_chunk_of_a_map_is_found(url: Path, fit: str, spoil: Callable[[Path], None]) -> None:
    store = whole(url)
    for path in sorted((url / "maps" / "lives-in" / fit).rglob("c/**/*")):
        if path.is_file():
            before = path.read_bytes()
            spoil(path)
            [fault] = LogitStore.open(str(url)).verify()
            assert f"maps/lives-in/{fit}" in fault
            assert "`lincorr fit`" in fault
            assert not LogitStore.open(str(url)).maps.is_whole("lives-in", fit, fit)
            path.write_bytes(before)
    assert store.maps.is_whole("lives-in", fit, fit)
    assert not store.maps.is_whole("lives-in", fit, "other")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_diagnosis_or_a_score_that_was_changed_is_found(url: Path) -> None:
    store = whole(url)
    rank = store.maps.load("lives-in", "dense").diagnosis.cut.rank
    edit(url / "maps/lives-in/dense/zarr.json", f'"rank": {rank}', f'"rank": {rank + 1}')
    edit(url / "scores/lives-in/zarr.json", "0.25", "0.75")
    store = LogitStore.open(str(url))
    assert len(store.verify()) == 2
    assert store.maps.score_inputs("lives-in") is None  # so that it is computed again
    assert not store.maps.is_whole("lives-in", "dense", "dense")
    assert "diagnosis was changed" in refusal(StoreDamaged, lambda: store.maps.load("lives-in", "dense"))


def test_a_damaged_map_and_score_are_replaced(url: Path) -> None:
    whole(url)
    for key in ("maps/lives-in/dense", "scores/lives-in"):
        cut(url / key / "zarr.json")
    store = LogitStore.open(str(url), write=True)
    store.maps.save("lives-in", "dense", MAPS["dense"], "dense")
    store.maps.save_scores("lives-in", ColumnScore("a", 0.5, 0.25), "digest")
    assert LogitStore.open(str(url)).verify() == []


def test_what_a_killed_fit_left_is_no_damage(url: Path) -> None:
    store = whole(url)
    del zarr.open_group(str(url), path="maps/lives-in/dense", mode="r+").attrs["inputs"]
    store.maps.create_tiles("lives-in", "begun", (4, 4), 2, "scratch")
    assert LogitStore.open(str(url)).verify() == []


def test_a_tile_of_an_earlier_scratch_does_not_come_into_a_map(url: Path) -> None:
    maps = whole(url).maps
    assert not maps.create_tiles("lives-in", "tiled", (4, 4), 2, "another scratch")
    with pytest.raises(LincorrError, match="was begun anew"):
        maps.write_tile("lives-in", "tiled", 0, 0, np.ones((2, 2)), "scratch")
    assert not (url / "maps" / "lives-in" / "tiled" / "tiles" / "c").exists()


# --- identity -----------------------------------------------------------------------------------------


def change_state(url: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = url / "zarr.json"
    root = json.loads(path.read_text())
    change(root["attributes"]["lincorr"])
    path.write_text(json.dumps(root))


OTHERS = {"hidden": False, "linear": False, "passes": "plain", "revision": "main", "precision": "float16"}


@pytest.mark.parametrize("field", IDENTITY.__slots__)
def test_an_identity_that_was_edited_is_refused(url: Path, field: str) -> None:
    make(url)
    for other in (
        OTHERS.get(field, 7 if type(getattr(IDENTITY, field)) is int else "other"),
        None,
        [],
        -1,
        {},
    ):
        if other != getattr(IDENTITY, field):
            change_state(url, lambda state: state["identity"].update({field: other}))  # noqa: B023
            message = refusal(StoreDamaged, lambda: LogitStore.open(str(url)))
            assert "identity in zarr.json" in message
    change_state(url, lambda state: state["identity"].pop(field))
    assert "identity in zarr.json" in refusal(StoreDamaged, lambda: LogitStore.open(str(url)))


def test_an_identity_of_an_older_store_needs_no_seal(url: Path) -> None:
    make(url)
    change_state(url, lambda state: (state.pop("seal"), state["identity"].update(source="elsewhere")))
    assert LogitStore.open(str(url)).identity.source == "elsewhere"
    change_state(url, lambda state: state["identity"].update(shard_rows=0))
    assert "shard_rows is 0" in refusal(StoreDamaged, lambda: LogitStore.open(str(url)))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_subjects": "many"},
        {"n_subjects": -1},
        {"n_subjects": None},
        {"identity": None},
        {"identity": []},
        {"format": None},
        {"format": [2]},
    ],
    ids=str,
)
def test_a_state_that_was_edited_is_refused(url: Path, changes: dict[str, Any]) -> None:
    make(url)
    change_state(url, lambda state: state.update(changes))
    with pytest.raises(LincorrError) as refused:
        LogitStore.open(str(url))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("state", [None, [], "text", 5])
def test_a_state_that_is_none_is_refused(url: Path, state: Any) -> None:
    make(url)
    path = url / "zarr.json"
    root = json.loads(path.read_text())
    root["attributes"]["lincorr"] = state
    path.write_text(json.dumps(root))
    assert "format None" in refusal(BadInput, lambda: LogitStore.open(str(url)))


def test_fewer_subjects_than_were_extracted_are_not_overwritten(url: Path) -> None:
    make(url)
    change_state(url, lambda state: state.update(n_subjects=4))
    store = LogitStore.open(str(url), write=True)
    assert "n_subjects" in refusal(StoreDamaged, lambda: store.add_subjects(string_subjects("xyz")))


def test_more_subjects_than_there_are_is_damage(url: Path) -> None:
    make(url)
    change_state(url, lambda state: state.update(n_subjects=40))
    assert "subjects/id" in refusal(StoreDamaged, lambda: LogitStore.open(str(url)).subjects())


def test_settings_that_are_none_are_empty(url: Path) -> None:
    make(url)
    change_state(url, lambda state: state.update(settings=[1]))
    assert LogitStore.open(str(url)).settings() == {}


def test_a_head_whose_scale_was_changed_is_found(url: Path) -> None:
    make(url)
    assert HEAD.scale == 0.5
    edit(url / "head" / "zarr.json", '"scale": 0.5', '"scale": 0.25')
    assert "its scale, softcap or bias was changed" in refusal(
        StoreDamaged, LogitStore.open(str(url)).readout
    )
