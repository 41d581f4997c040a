"""Shards: short, incomplete, damaged, and done again."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.prompts.subjects import string_subjects
from lincorr.store.shards import Shards
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import (
    COLUMNS,
    HIDDEN,
    LOGITS,
    SHARD,
    make,
    refusal,
    spoilt,
    truncate,
    write,
)
from tests.stores import array


def test_a_short_last_shard_grows(url: Path) -> None:
    store = make(url)
    assert store.shards.fault("city", 2) is None
    store.add_subjects(string_subjects("kl"))
    assert store.shards.fault("city", 2) == "incomplete"
    assert store.shards.whole_rows("city", 2) == 2
    np.testing.assert_array_equal(store.hidden("city", np.array([9])), HIDDEN[[9]])
    assert "has 2 of its rows" in refusal(StoreDamaged, lambda: store.hidden("city", np.array([10])))

    kept = store.shards.read("hidden", "city", 2)
    logits = store.shards.read("logits", "city", 2)
    store.shards.write("city", 2, np.concatenate([logits, logits]), np.concatenate([kept, kept]))
    assert store.verify() == []
    np.testing.assert_array_equal(store.hidden("city", np.array([9, 11])), HIDDEN[[9, 9]])


def test_new_subjects_open_new_shards(url: Path) -> None:
    store = make(url)
    store.add_subjects(string_subjects("klmnop"))
    assert store.shards.count == 4
    assert [store.shards.fault("city", shard) for shard in range(4)] == [
        None,
        None,
        "incomplete",
        "not extracted",
    ]


def test_subjects_that_a_killed_run_has_given_no_room_are_not_extracted(
    url: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(url)
    monkeypatch.setattr(Shards, "extend", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.add_subjects(string_subjects("klmnop"))
    store = LogitStore.open(str(url))
    assert store.verify() == [
        "template 'city', shard 2: incomplete",
        "template 'city', shard 3: not extracted",
    ]
    assert store.shards.written("city").tolist() == [1] * 10 + [0] * 6
    assert (
        store.dataset("city").logits.isnull().all("city_token").to_numpy().tolist()
        == [False] * 10 + [True] * 6
    )
    assert "is not extracted" in refusal(StoreDamaged, lambda: store.hidden("city", np.array([3, 13])))
    np.testing.assert_array_equal(store.hidden("city", np.array([3, 9])), HIDDEN[[3, 9]])


def test_what_is_not_extracted_reads_as_nan_and_is_refused(url: Path) -> None:
    store = make(url, written=False)
    write(store, 1)
    raw = array(url, "logits/city")
    assert np.isnan(raw).all(axis=1).tolist() == [True] * 4 + [False] * 4 + [True] * 2
    message = refusal(StoreDamaged, lambda: store.logits("city", COLUMNS.ids, np.array([5, 3])))
    assert "shard 0 of template 'city'" in message
    assert store.shards.whole_rows("city", 0) == 0


def test_content_digest_follows_the_shards_of_its_rows(url: Path) -> None:
    store = make(url)
    first, last = (store.shards.digest("city", np.array(rows)) for rows in ([0, 3], [8]))
    write(store, 0)  # the same again
    assert store.shards.digest("city", np.array([0, 3])) == first
    store.shards.write("city", 0, LOGITS[4:8][:, COLUMNS.ids], HIDDEN[4:8])
    assert store.shards.digest("city", np.array([0, 3])) != first
    assert store.shards.digest("city", np.array([8])) == last


@spoilt
@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_a_spoilt_chunk_is_found_there_and_only_there(
    url: Path, kind: str, spoil: Callable[[Path], None]
) -> None:
    store = make(url)
    spoil(url / kind / "city" / "c" / "1" / "0")
    assert [store.shards.fault("city", shard) for shard in range(3)] == [None, "damaged", None]
    assert store.verify() == ["template 'city', shard 1: damaged"]
    assert store.shards.whole_rows("city", 1) == 0

    def read(rows: list[int]) -> NDArray[np.floating]:
        if kind == "hidden":
            return store.hidden("city", np.array(rows))
        return store.logits("city", COLUMNS.ids, np.array(rows))

    assert len(read([0, 3, 8, 9])) == 4
    assert "shard 1 of template 'city'" in refusal(StoreDamaged, lambda: read([4]))
    assert "shard 1 of template 'city'" in refusal(StoreDamaged, lambda: read([0, 7]))
    refusal(StoreDamaged, lambda: store.shards.require_whole("city", np.array([4])))
    store.shards.require_whole("city", np.array([0, 9]))


def test_what_is_written_is_told_from_records_alone(url: Path) -> None:
    store = make(url)
    store.shards.require_written("city", np.arange(store.n_subjects))
    truncate(url / "logits" / "city" / "c" / "1" / "0")  # nothing is read
    store.shards.require_written("city", np.arange(store.n_subjects))
    records = zarr.open_array(str(url), path="done/city", mode="r+")
    records[1] = np.array([2, 0, 0, 0, 0])  # two of its rows, as after a shorter run
    first = store.identity.shard_rows
    store.shards.require_written("city", np.array([0, first, first + 1]))
    incomplete = refusal(StoreDamaged, lambda: store.shards.require_written("city", np.array([0, first + 2])))
    assert "shard 1 of template 'city'" in incomplete
    assert "is incomplete; run `lincorr extract`" in incomplete
    records[1] = np.zeros(5)
    absent = refusal(StoreDamaged, lambda: store.shards.require_written("city", np.array([first])))
    assert "is not extracted" in absent


def test_a_valid_chunk_of_other_rows_is_found(url: Path) -> None:
    """Its own checksum is right; the record knows better."""
    store = make(url)
    chunks = url / "logits" / "city" / "c"
    (chunks / "1" / "0").write_bytes((chunks / "0" / "0").read_bytes())
    assert store.verify() == ["template 'city', shard 1: damaged"]


@spoilt
def test_a_spoilt_record_makes_its_shard_be_done_again(url: Path, spoil: Callable[[Path], None]) -> None:
    store = make(url)
    spoil(url / "done" / "city" / "c" / "1" / "0")
    assert store.shards.fault("city", 1) in ("damaged", "not extracted")
    assert len(store.verify()) == 1
    assert store.shards.whole_rows("city", 1) == 0
    refusal(StoreDamaged, lambda: store.hidden("city", np.array([4])))
    write(store, 1)
    assert store.verify() == []


@pytest.mark.parametrize(("precision", "value"), [("float16", 1e6), ("float32", np.inf), ("float32", np.nan)])
def test_values_that_are_not_finite_are_refused_and_leave_no_record(
    url: Path, precision: str, value: float
) -> None:
    store = make(url, written=False, precision=precision)
    logits = np.zeros((SHARD, 3), np.float32)
    logits[1, 2] = value
    said = refusal(LincorrError, lambda: store.shards.write("city", 0, logits, HIDDEN[:SHARD]))
    assert "'city', shard 0" in said
    assert store.shards.fault("city", 0) == "not extracted"


def test_kept_shards_are_read_once_and_cannot_be_changed(url: Path) -> None:
    store = make(url)
    size = SHARD * HIDDEN.itemsize * HIDDEN.shape[1]
    with store.shards.kept(size):  # of three shards, the first
        first = store.shards.read("hidden", "city", 0)
        truncate(url / "hidden" / "city" / "c" / "0" / "0")
        truncate(url / "hidden" / "city" / "c" / "1" / "0")
        assert store.shards.read("hidden", "city", 0) is first
        assert refusal(StoreDamaged, lambda: store.shards.read("hidden", "city", 1))
        with pytest.raises(ValueError, match="read-only"):
            first[:] = 0
    assert refusal(StoreDamaged, lambda: store.shards.read("hidden", "city", 0))


def test_what_is_kept_is_read_once_and_forgotten_afterwards(url: Path) -> None:
    store, rows = make(url), np.arange(10)
    before = store.shards.digest("city", rows)
    with store.shards.kept(10**6):
        held = store.hidden("city", rows)
        for file in (*url.glob("done/city/c/*/0"), *url.glob("hidden/city/c/*/0")):
            file.unlink()
        assert store.shards.digest("city", rows) == before
        np.testing.assert_array_equal(store.hidden("city", rows), held)
    assert store.shards.digest("city", rows) != before
    assert "not extracted" in refusal(StoreDamaged, lambda: store.hidden("city", rows))
