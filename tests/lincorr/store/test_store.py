"""The store: created, extended, refused, damaged, and read back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import string_subjects, token_subjects
from lincorr.readout import Readout
from lincorr.relations.relation import Template
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, HiddenMap, LinearMap, PathPoint, RidgePath, map_through
from lincorr.store.identity import Identity
from lincorr.store.store import LogitStore
from lincorr.testing import toy_tokenizer

WIDTH, VOCABULARY, SHARD = 5, 12, 4
IDENTITY = Identity(
    source="model",
    revision=None,
    config="c",
    weights="w",
    tokenizer="t",
    compute="float32",
    head="linear, 12 x 5",
    linear=True,
    vocabulary_size=VOCABULARY,
    width=WIDTH,
    precision="float32",
    hidden=True,
    shard_rows=SHARD,
    batch_tokens=2,
    passes="trees",
)
CITY = Template("city", "{} lives in the city of")
COLUMNS = Columns(np.array([7, 2, 9]), (" Rome", " Oslo", " Lima"), ("Rome", "Oslo", "Lima"), (True,) * 3, {})
LETTERS = "abcdefghij"  # three shards: 4, 4 and 2 rows

HEAD = Readout(
    np.random.default_rng(0).standard_normal((VOCABULARY, WIDTH)).astype(np.float32),
    np.arange(VOCABULARY, dtype=np.float32),
    scale=0.5,
)
HIDDEN = np.random.default_rng(1).standard_normal((len(LETTERS), WIDTH)).astype(np.float32)
LOGITS = HEAD.logits(HIDDEN)


def make(url: Path, *, written: bool = True, **changes: Any) -> LogitStore:
    """A store of ten subjects under one template."""
    identity = replace(IDENTITY, **changes)
    store = LogitStore.create(str(url), identity)
    store.add_subjects(string_subjects(LETTERS))
    store.add_template(CITY, COLUMNS)
    if identity.hidden:
        store.head.write(HEAD)
    if written:
        for shard in range(store.shards.count):
            write(store, shard)
    return store


def write(store: LogitStore, shard: int, name: str = "city") -> int:
    rows = store.shards.rows(shard)
    hidden = HIDDEN[rows] if store.identity.hidden else None
    return store.shards.write(name, shard, LOGITS[rows][:, COLUMNS.ids], hidden)


@pytest.fixture
def url(tmp_path: Path) -> Path:
    return tmp_path / "run.zarr"


def refusal(kind: type[Exception], act: Callable[[], Any]) -> str:
    """The message of the error that `act` runs into, which must be one line."""
    with pytest.raises(kind) as problem:
        act()
    assert "\n" not in str(problem.value)
    return str(problem.value)


# --- create and open ----------------------------------------------------------------------------------


def test_a_store_is_found_where_it_was_made(url: Path) -> None:
    assert not LogitStore.exists(str(url))
    LogitStore.create(str(url), IDENTITY)
    assert LogitStore.exists(str(url))
    assert LogitStore.open(str(url)).identity == IDENTITY


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


def test_another_format_is_refused(url: Path) -> None:
    LogitStore.create(str(url), IDENTITY)
    group = zarr.open_group(str(url), mode="r+")
    group.attrs["lincorr"] = {**group.attrs["lincorr"], "format": 99}  # type: ignore[dict-item]
    assert "has format 99" in refusal(BadInput, lambda: LogitStore.open(str(url)))


def test_opened_to_read_it_cannot_be_written(url: Path) -> None:
    make(url)
    with pytest.raises(ValueError, match="read-only"):
        write(LogitStore.open(str(url)), 0)


# --- identity -----------------------------------------------------------------------------------------


def test_the_same_identity_is_accepted_from_anywhere(url: Path) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    store.require(replace(IDENTITY, source="/elsewhere/model", revision="main"))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("config", "x", "model: another model: its configuration"),
        ("weights", "x", "model: another model: its weights"),
        ("tokenizer", "x", "model: another model: its tokenizer"),
        ("compute", "bfloat16", "model.dtype: bfloat16"),
        ("precision", "float16", "store.precision: float16"),
        ("hidden", False, "store.hidden: False"),
        ("shard_rows", 8, "store.shard_rows: 8"),
        ("batch_tokens", 4, "batch_tokens: 4"),
    ],
)
def test_another_identity_is_refused(url: Path, field: str, value: Any, says: str) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    message = refusal(BadInput, lambda: store.require(replace(IDENTITY, **{field: value})))
    assert says in message
    assert "name another store" in message


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


# --- extending ----------------------------------------------------------------------------------------


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


def test_what_is_not_extracted_reads_as_nan_and_is_refused(url: Path) -> None:
    store = make(url, written=False)
    write(store, 1)
    raw = np.asarray(zarr.open_group(str(url), mode="r")["logits/city"][...])  # type: ignore[index]
    assert np.isnan(raw).all(axis=1).tolist() == [True] * 4 + [False] * 4 + [True] * 2
    message = refusal(StoreDamaged, lambda: store.logits("city", COLUMNS.ids, np.array([5, 3])))
    assert "shard 0 of template 'city'" in message
    assert store.shards.whole_rows("city", 0) == 0


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


def test_content_digest_follows_the_shards_of_its_rows(url: Path) -> None:
    store = make(url)
    first, last = (store.shards.digest("city", np.array(rows)) for rows in ([0, 3], [8]))
    write(store, 0)  # the same again
    assert store.shards.digest("city", np.array([0, 3])) == first
    store.shards.write("city", 0, LOGITS[4:8][:, COLUMNS.ids], HIDDEN[4:8])
    assert store.shards.digest("city", np.array([0, 3])) != first
    assert store.shards.digest("city", np.array([8])) == last


# --- damage -------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


spoilt = pytest.mark.parametrize("spoil", [truncate, empty, flip_a_bit, Path.unlink])


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
    records[1] = np.array([2, 0, 0])  # two of its rows, as after a shorter run
    first = store.identity.shard_rows
    store.shards.require_written("city", np.array([0, first, first + 1]))
    incomplete = refusal(StoreDamaged, lambda: store.shards.require_written("city", np.array([0, first + 2])))
    assert "shard 1 of template 'city'" in incomplete
    assert "is incomplete; run `lincorr extract`" in incomplete
    records[1] = np.zeros(3)
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


@spoilt
@pytest.mark.parametrize("table", ["subjects/id", "subjects/text", "columns/city/id", "columns/city/text"])
def test_a_spoilt_table_is_found(url: Path, table: str, spoil: Callable[[Path], None]) -> None:
    store = make(url)
    spoil(url / table / "c" / "0")
    [fault] = store.verify()
    assert f"the table {table!r}" in fault
    assert refusal(StoreDamaged, lambda: store.dataset("city")) == fault


@spoilt
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_spoilt_head_is_found(url: Path, part: str, spoil: Callable[[Path], None]) -> None:
    store = make(url)
    spoil(next(path for path in (url / "head" / part / "c").rglob("*") if path.is_file()))
    [fault] = store.verify()
    assert fault.startswith("head: ")
    assert "the output head" in refusal(StoreDamaged, store.readout)
    assert len(store.logits("city", COLUMNS.ids, np.array([0]))) == 1  # kept columns need no head


# --- the head -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [HEAD, Readout(HEAD.weight), Readout(HEAD.weight, None, 2.0, 30.0)],
    ids=["bias and scale", "plain", "soft-capped"],
)
def test_a_head_comes_back_as_it_was(url: Path, head: Readout) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    assert not store.head.exists()
    assert "has no output head" in refusal(StoreDamaged, store.readout)
    store.head.write(head)
    found = LogitStore.open(str(url)).readout()
    assert (found.scale, found.softcap) == (head.scale, head.softcap)
    np.testing.assert_array_equal(found.logits(HIDDEN), head.logits(HIDDEN))


def test_a_head_is_read_once_and_checked_on_disk(url: Path) -> None:
    store = make(url)
    head = store.readout()
    assert store.readout() is head
    with pytest.raises(ValueError, match="read-only"):
        head.weight[0, 0] = 1.0
    store.head.write(Readout(HEAD.weight + 1))
    np.testing.assert_array_equal(store.readout().weight, HEAD.weight + 1)
    next(path for path in (url / "head" / "weight" / "c").rglob("*") if path.is_file()).unlink()
    assert any("head" in fault for fault in store.verify())


# --- other readers ------------------------------------------------------------------------------------


def test_a_dataset_has_labels(url: Path) -> None:
    data = make(url).dataset("city")
    assert data.sizes == {"subject": 10, "city_token": 3, "width": WIDTH}
    np.testing.assert_array_equal(
        data.logits.sel(subject="e", city_token=" Oslo"), LOGITS[LETTERS.index("e"), 2]
    )
    np.testing.assert_array_equal(data.hidden.sel(subject="j"), HIDDEN[9])
    assert data.token_id.values.tolist() == COLUMNS.ids.tolist()


@pytest.mark.parametrize("kind", ["logits", "hidden"])
def test_plain_xarray_opens_the_arrays(url: Path, kind: str) -> None:
    store = make(url)
    store.add_template(Template("country", "{} is in"), COLUMNS)
    data = xarray.open_zarr(str(url), group=kind, consolidated=False)
    expected: NDArray[np.float32] = {"logits": LOGITS[:, COLUMNS.ids], "hidden": HIDDEN}[kind]
    np.testing.assert_array_equal(data["city"].values, expected)
    assert np.isnan(data["country"].values).all()
    assert data["city"].dims[0] == "subject"


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


def test_an_array_without_its_description_is_told(url: Path) -> None:
    store = make(url)
    path = url / "logits" / "city" / "zarr.json"
    path.write_text(path.read_text()[:40])
    assert "cannot be read" in refusal(StoreDamaged, lambda: LogitStore.open(store.url).templates())


# --- maps ---------------------------------------------------------------------------------------------

PATH = RidgePath((PathPoint(0.0, float("nan")), PathPoint(0.1, 0.8)), best=0.1, reading=0.1)


def matrix(rows: int, columns: int) -> NDArray[np.float64]:
    return np.random.default_rng(rows).standard_normal((rows, columns))


def diagnosis(path: RidgePath | None = None) -> Diagnosis:
    cut = Cut(3, 0.1, 0.2, 9.0, 1.0, 0.05)
    return Diagnosis("direct", "small", 8, cut, 0.5, 0.1, 1e-16, 0.0, path)


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
    assert "has no scores of 'lives-in'" in refusal(BadInput, lambda: maps.load_scores("lives-in"))
    assert maps.score_inputs("lives-in") is None
    maps.save_scores("lives-in", {"r": [0.5, float("nan")]}, "digest")
    assert maps.score_inputs("lives-in") == "digest"
    assert LogitStore.open(str(url)).maps.load_scores("lives-in") == {"r": [0.5, None]}
