"""Cached results: computed once, and again where what they depend on or the schema has changed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lincorr.errors import LincorrError
from lincorr.scores.relation_scores import ColumnScore
from lincorr.store import cached as caching
from lincorr.store.cached import cached, cached_group
from lincorr.store.maps import MapStore
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import IDENTITY


@pytest.fixture
def maps(url: Path) -> MapStore:
    return LogitStore.create(str(url), IDENTITY).maps


def of(maps: MapStore, depends_on: object, computed: list[object]) -> ColumnScore:
    """A cached score of what it depends on; `computed` notes each computation."""

    def compute() -> ColumnScore:
        computed.append(depends_on)
        return ColumnScore(str(depends_on), 0.5, float("nan"))

    return cached(maps, "a", ColumnScore, depends_on, compute)


def test_a_result_is_computed_once_for_what_it_depends_on(maps: MapStore) -> None:
    computed: list[object] = []
    for depends_on in ([1, "x"], [1, "x"], [2, "x"], [1, "x"]):
        found = of(maps, depends_on, computed)
        assert found == ColumnScore(str(depends_on), 0.5, None)  # as it is stored, also when it is new
    assert computed == [[1, "x"], [2, "x"], [1, "x"]]


def test_a_result_is_looked_up_and_read(maps: MapStore, read: list[str]) -> None:
    of(maps, "x", [])
    read.clear()
    of(maps, "x", [])
    assert read == ["scores/a/zarr.json"] * 2


def test_nothing_is_computed_that_could_not_be_stored(maps: MapStore, url: Path) -> None:
    maps.turn.take()
    LogitStore.open(str(url), write=True).maps.turn.take()
    computed: list[object] = []
    with pytest.raises(LincorrError, match="another run writes"):
        of(maps, "x", computed)
    assert computed == []


def test_a_result_of_another_schema_is_computed_again(
    maps: MapStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[object] = []
    with monkeypatch.context() as older:
        older.setattr(caching, "SCHEMA", 3)
        of(maps, "x", computed)
    of(maps, "x", computed)
    of(maps, "x", computed)
    assert computed == ["x", "x"]


def test_of_a_group_only_what_is_missing_is_computed_and_together(maps: MapStore) -> None:
    asked: list[list[str]] = []

    def compute(names: Sequence[str]) -> dict[str, ColumnScore]:
        asked.append(list(names))
        return {name: ColumnScore(name, 0.5, 0.5) for name in names}

    cached_group(maps, ColumnScore, {"a": 1, "b": 1}, compute)
    found = cached_group(maps, ColumnScore, {"a": 1, "b": 2, "c": 1}, compute)
    cached_group(maps, ColumnScore, {"c": 1}, compute)
    assert asked == [["a", "b"], ["b", "c"]]
    assert [score.token for score in found.values()] == ["a", "b", "c"]
