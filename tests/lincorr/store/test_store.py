"""The store: created, extended, refused, and read back."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.prompts.subjects import string_subjects, token_subjects
from lincorr.prompts.trees import PromptTemplate
from lincorr.relations.relation import Template
from lincorr.store.store import LogitStore
from lincorr.testing import toy_tokenizer
from tests.lincorr.store.small_store import (
    CITY,
    COLUMNS,
    HIDDEN,
    IDENTITY,
    LETTERS,
    LOGITS,
    SHARD,
    VOCABULARY,
    WIDTH,
    make,
    refusal,
    spoilt,
    truncate,
    write,
)

FIRST = np.array([0])  # a row


def test_a_store_is_found_where_it_was_made(url: Path) -> None:
    assert not LogitStore.exists(str(url))
    LogitStore.create(str(url), IDENTITY)
    assert LogitStore.exists(str(url))
    assert LogitStore.open(str(url)).identity == IDENTITY


def test_a_store_is_opened_by_one_request(url: Path, read: list[str]) -> None:
    make(url)
    read.clear()
    LogitStore.open(str(url))
    assert read == ["zarr.json"]


def test_the_columns_of_a_template_are_read_once(url: Path, read: list[str]) -> None:
    make(url)
    store = LogitStore.open(str(url))
    read.clear()
    for _ in range(3):
        store.logits("city", COLUMNS.ids, np.arange(4))
        store.column_ids("city")[:] = 0  # the caller's own
    assert read.count("columns/city/id/c/0") == 1


def test_a_store_that_is_not_there_is_refused(url: Path) -> None:
    assert "no lincorr store" in refusal(BadInput, lambda: LogitStore.open(str(url)))


@pytest.mark.parametrize("taken_by", ["file", "folder", "store"])
def test_a_taken_place_is_refused(url: Path, taken_by: str) -> None:
    if taken_by == "file":
        url.write_text("hello")
    elif taken_by == "folder":
        url.mkdir()
        (url / "notes.txt").write_text("hello")
    else:
        LogitStore.create(str(url), IDENTITY)
    assert "name another" in refusal(BadInput, lambda: LogitStore.create(str(url), IDENTITY))


@pytest.mark.parametrize("write", range(12))  # the last: the attributes
def test_a_store_whose_making_was_killed_is_made(
    url: Path, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write is a file of metadata; cut off at each of them."""
    replace, left = Path.replace, [write]

    def cut_off(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            self.with_name(f"zarr.{0:032x}.partial").write_bytes(b"{")  # as a kill leaves it
            raise OSError("killed")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(LincorrError, match="cannot be written"):
        LogitStore.create(str(url), IDENTITY)
    monkeypatch.undo()
    assert not LogitStore.exists(str(url))
    assert make(url).verify() == []


@pytest.mark.parametrize("taken_by", ["attributes", "array", "rows", "subgroup", "file below"])
def test_a_hierarchy_of_somebody_else_is_not_taken_over(url: Path, taken_by: str) -> None:
    group = zarr.open_group(str(url), mode="w")
    if taken_by == "attributes":
        group.attrs["mine"] = 1
    elif taken_by == "rows":
        group.create_array("subjects/id", shape=(2,), dtype="int64", overwrite=True)
    elif taken_by == "file below":
        group.create_group("maps")
        (url / "maps" / "notes.txt").write_text("hello")
    elif taken_by == "array":
        group.create_array("mine", shape=(2,), dtype="int64")
    else:
        group.create_group("mine")
    before = {path: path.read_bytes() for path in url.rglob("*") if path.is_file()}
    assert "name another" in refusal(BadInput, lambda: LogitStore.create(str(url), IDENTITY))
    assert {path: path.read_bytes() for path in url.rglob("*") if path.is_file()} == before


def test_files_of_a_file_manager_are_no_part_of_it(url: Path) -> None:
    store = make(url)
    for part in ("maps", "scores", "asked", "logits"):
        (url / part).mkdir(exist_ok=True)
        (url / part / ".DS_Store").write_bytes(b"Bud1")
    names = [store.maps.relations(), store.maps.scored(), store.asked.names(), store.verify()]
    assert (names, store.templates()) == ([[]] * 4, [CITY])


@pytest.mark.parametrize("inner", ["inner.zarr", "logits/deep/inner.zarr", "a/../b"])
def test_a_store_inside_a_store_is_refused(url: Path, inner: str) -> None:
    LogitStore.create(str(url), IDENTITY)
    assert "lies inside another" in refusal(BadInput, lambda: LogitStore.create(str(url / inner), IDENTITY))


def test_another_format_is_refused(url: Path) -> None:
    LogitStore.create(str(url), IDENTITY)
    group = zarr.open_group(str(url), mode="r+")
    group.attrs["lincorr"] = {**group.attrs["lincorr"], "format": 99}  # type: ignore[dict-item]
    assert "has format 99" in refusal(BadInput, lambda: LogitStore.open(str(url)))


def test_opened_to_read_it_cannot_be_written(url: Path) -> None:
    make(url)
    with pytest.raises(ValueError, match="read-only"):
        write(LogitStore.open(str(url)), 0)


# --- subjects -----------------------------------------------------------------------------------------


def test_subjects_come_back_as_they_were(url: Path) -> None:
    subjects = token_subjects(toy_tokenizer(), [0, 150, 70, 200])
    LogitStore.create(str(url), IDENTITY).add_subjects(subjects)
    found = LogitStore.open(str(url)).subjects()
    assert (found.ids.tolist(), found.texts, found.classes) == (
        subjects.ids.tolist(),
        subjects.texts,
        subjects.classes,
    )


def test_known_subjects_keep_their_rows(url: Path) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    assert store.add_subjects(string_subjects("abc")).tolist() == [0, 1, 2]
    assert store.add_subjects(string_subjects("cxax")).tolist() == [2, 3, 0, 3]
    assert store.subjects().texts == ("a", "b", "c", "x")
    assert store.rows_of(string_subjects("xq")).tolist() == [3, -1]


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(2, 99), slice(-3, None), slice(None, None, 3), slice(7, 2, -2), slice(5, 2), None],
)
def test_rows_of_a_killed_run_are_no_subjects(url: Path, rows: slice | None) -> None:
    """They were written, and n_subjects, which says so, was not."""
    store = make(url)
    row = zip(("id", "text", "class"), ([-1], ["x"], ["string"]), strict=True)
    for part, value in row:
        store._hierarchy.append(f"subjects/{part}", np.array(value), len(LETTERS))
    assert store.subjects(rows).texts == tuple(LETTERS[rows or slice(None)])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=12))
def test_each_distinct_string_has_one_row(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    store = LogitStore.create(str(tmp_path_factory.mktemp("store") / "s"), IDENTITY)
    rows = store.add_subjects(string_subjects(texts))
    assert [store.subjects().texts[row] for row in rows] == texts
    assert store.n_subjects == len(set(texts))


# --- write and read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_is_written_is_read_in_stored_precision(url: Path, precision: str) -> None:
    make(url, precision=precision)
    store = LogitStore.open(str(url))
    every_row = np.arange(len(LETTERS))
    logits = store.logits("city", COLUMNS.ids, every_row)
    hidden = store.hidden("city", every_row)
    np.testing.assert_array_equal(logits, LOGITS[:, COLUMNS.ids].astype(precision), strict=True)
    np.testing.assert_array_equal(hidden, HIDDEN.astype(precision), strict=True)
    assert store.verify() == []


def test_bytes_written_are_counted(url: Path) -> None:
    store = make(url, written=False)
    assert write(store, 0) == SHARD * (len(COLUMNS) + WIDTH) * 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LogitStore:
    """A store that tests only read."""
    return make(tmp_path_factory.mktemp("whole") / "run.zarr")


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, len(LETTERS) - 1), max_size=15), ids=st.permutations([7, 2, 9]))
def test_rows_and_columns_in_any_order(whole: LogitStore, rows: list[int], ids: list[int]) -> None:
    chosen = np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(
        whole.logits("city", np.array(ids), chosen), LOGITS[np.ix_(chosen, np.array(ids))]
    )
    np.testing.assert_array_equal(whole.hidden("city", chosen), HIDDEN[chosen])


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=8))
def test_columns_that_are_not_kept_come_from_hidden_states(whole: LogitStore, ids: list[int]) -> None:
    rows = np.array([8, 1, 1])
    found = whole.logits("city", np.array(ids), rows)
    np.testing.assert_allclose(found, LOGITS[np.ix_(rows, np.array(ids))], rtol=1e-5, atol=1e-5)


def test_columns_that_are_nowhere_are_refused(url: Path) -> None:
    store = make(url, hidden=False)
    message = refusal(BadInput, lambda: store.logits("city", np.array([7, 3]), np.array([0])))
    assert "has neither these logits of template 'city' nor hidden states" in message


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_a_token_that_the_model_has_not_is_refused(whole: LogitStore, token: int) -> None:
    assert f"no token {token}" in refusal(BadInput, lambda: whole.logits("city", np.array([token]), FIRST))


def test_a_template_without_columns_has_the_logits_of_its_hidden_states(url: Path) -> None:
    store = make(url, written=False)
    store.add_template(Template("none", "{} is"), COLUMNS.where([False] * 3))
    store.shards.write("none", 0, np.zeros((SHARD, 0), np.float32), HIDDEN[:SHARD])
    found = store.logits("none", np.array([7]), np.arange(SHARD))
    assert np.allclose(found, LOGITS[:SHARD, [7]])


def test_a_template_that_is_not_there_is_no_damage(whole: LogitStore) -> None:
    for ask in (whole.column_ids, whole.dataset):
        assert "no template 'town'; it has ['city']" in refusal(BadInput, partial(ask, "town"))


def test_hidden_states_that_are_not_kept_are_no_damage(url: Path) -> None:
    store = make(url, hidden=False)
    assert "no hidden states" in refusal(BadInput, lambda: store.hidden("city", FIRST))


def test_another_template_is_added_beside_the_first(url: Path) -> None:
    store = make(url)
    store.add_template(Template("country", "{} is in the country of"), COLUMNS)
    assert [t.name for t in store.templates()] == ["city", "country"]
    assert store.shards.fault("country", 0) == "not extracted"
    assert store.shards.fault("city", 0) is None


def test_adding_a_template_again_changes_nothing(url: Path) -> None:
    store = make(url)
    store.add_template(CITY, COLUMNS)
    assert store.verify() == []


def test_a_template_is_checked_without_reading_the_others(url: Path) -> None:
    """Else a run of many templates asks a server for each as often as there are templates."""
    store = make(url)
    store.add_template(Template("country", "{} is in the country of"), COLUMNS)
    for path in url.glob("*/country/zarr.json"):
        truncate(path)
    store = LogitStore.open(str(url))
    store.check_template(CITY, COLUMNS.ids)
    refusal(StoreDamaged, store.templates)


def test_templates_that_one_run_adds_are_remembered_together(url: Path) -> None:
    store = make(url)  # as stores before 0.2.0: nothing is remembered
    assert store.templates_added_with("city") == ()
    store.add_template(CITY, COLUMNS, together=["city", "country"])
    assert store.templates_added_with("city") == ()
    added = ["river", "sea"]
    store.add_template(Template("river", "{} is at the river"), COLUMNS, together=added)
    assert LogitStore.open(str(url)).templates_added_with("river") == ("river", "sea")


def test_a_template_is_asked_in_the_tokens_that_it_was_added_in(url: Path) -> None:
    store, prompt = make(url), PromptTemplate((0,), (4, 5), CITY.text)
    store.check_prompt("city", prompt)  # older stores do not remember
    store.check_prompt("river", prompt)  # is not there yet
    river = Template("river", "{} is at the river")
    store.add_template(river, COLUMNS, prompt=prompt)
    store = LogitStore.open(str(url))
    store.check_prompt("river", prompt)
    for before, after in [((), (4, 5)), ((0,), (4, 6))]:
        with pytest.raises(BadInput, match="template 'river': its text makes other tokens"):
            store.check_prompt("river", PromptTemplate(before, after, river.text))


def test_two_texts_under_one_name_are_refused(url: Path) -> None:
    store = make(url)
    other = Template("city", "{} was born in")
    message = refusal(BadInput, lambda: store.add_template(other, COLUMNS))
    assert message.startswith("template 'city': '{} was born in' ")
    assert store.templates() == [CITY]


def test_new_answers_need_hidden_states(url: Path) -> None:
    store = make(url, hidden=False)
    store.check_template(CITY, np.array([9, 7]))
    assert "has no logits of 1 of the answers" in refusal(
        BadInput, lambda: store.check_template(CITY, np.array([9, 3]))
    )
    make(url.with_name("hidden.zarr")).check_template(CITY, np.array([9, 3]))


@spoilt
@pytest.mark.parametrize("table", ["subjects/id", "subjects/text", "columns/city/id", "columns/city/text"])
def test_a_spoilt_table_is_found(url: Path, table: str, spoil: Callable[[Path], None]) -> None:
    store = make(url)
    spoil(url / table / "c" / "0")
    [fault] = store.verify()
    assert f"the table {table!r}" in fault
    assert refusal(StoreDamaged, lambda: store.dataset("city")) == fault


# --- other readers ------------------------------------------------------------------------------------


def test_a_dataset_has_labels(url: Path) -> None:
    data = make(url).dataset("city")
    assert data.sizes == {"subject": 10, "city_token": 3, "width": WIDTH}
    np.testing.assert_array_equal(
        data.logits.sel(subject="e", city_token=" Oslo"), LOGITS[LETTERS.index("e"), 2]
    )
    np.testing.assert_array_equal(data.hidden.sel(subject="j"), HIDDEN[9])
    assert data.token_id.values.tolist() == COLUMNS.ids.tolist()


def test_a_dataset_says_which_rows_are_extracted(url: Path) -> None:
    store = make(url, written=False)
    write(store, 1)
    data = LogitStore.open(str(url)).dataset("city")
    inside = np.isin(np.arange(10), np.arange(SHARD, 2 * SHARD))
    np.testing.assert_array_equal(data.complete, inside)
    for kind, right in (("logits", LOGITS[:, COLUMNS.ids]), ("hidden", HIDDEN)):
        np.testing.assert_array_equal(data[kind], np.where(inside[:, None], right, np.nan))


@pytest.mark.parametrize("kind", ["logits", "hidden"])
@spoilt
def test_a_dataset_never_reads_damage_as_missing(url: Path, kind: str, spoil: Callable[[Path], None]) -> None:
    make(url)
    spoil(url / kind / "city" / "c" / "1" / "0")
    data = LogitStore.open(str(url)).dataset("city")[kind]
    np.testing.assert_array_equal(
        data[:SHARD], {"logits": LOGITS[:, COLUMNS.ids], "hidden": HIDDEN}[kind][:SHARD]
    )
    assert "shard 1" in refusal(StoreDamaged, lambda: data.mean().values)


def test_a_dataset_is_selected_as_any_other(url: Path) -> None:
    data, right = make(url).dataset("city").logits, LOGITS[:, COLUMNS.ids]
    for key in [(3, 1), (slice(1, 9, 2), 0), ([7, 2, 2], [2, 0]), (slice(None, None, -1), slice(1, 3)), (9,)]:
        picked = right[np.ix_(*key)] if isinstance(key[0], list) else right[key]
        np.testing.assert_array_equal(data[key], picked)


@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_plain_xarray_opens_the_arrays(url: Path, kind: str) -> None:
    store = make(url)
    store.add_template(Template("country", "{} is in"), COLUMNS)
    data = xarray.open_zarr(str(url), group=kind, consolidated=False)
    expected: NDArray[np.float32] = {"logits": LOGITS[:, COLUMNS.ids], "hidden": HIDDEN}[kind]
    np.testing.assert_array_equal(data["city"].values, expected)
    assert np.isnan(data["country"].values).all()
    assert data["city"].dims[0] == "subject"
