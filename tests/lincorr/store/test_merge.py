"""Stores of one identity that were extracted at two sites, joined."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lincorr.errors import BadInput
from lincorr.prompts.subjects import string_subjects
from lincorr.relations.relation import Template
from lincorr.scores.audit import Audit
from lincorr.store.merge import merge
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import CITY, COLUMNS, HEAD, IDENTITY, WIDTH, flip_a_bit, refusal
from tests.stores import arrays

LAND = Template("land", "{} lives in the country of")


def state(letter: str, template: str) -> np.ndarray:
    """The hidden state of a subject in a template, wherever it is computed."""
    seed = [ord(letter), len(template)]
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


def site(url: Path, letters: str, *templates: Template, columns=COLUMNS, **changes) -> LogitStore:
    """A store of these subjects, in shards of four."""
    store = LogitStore.create(str(url), replace(IDENTITY, **changes))
    store.add_subjects(string_subjects(letters))
    for template in templates:
        store.add_template(template, columns, together=[one.name for one in templates])
    store.head.write(HEAD)
    for template in templates:
        for shard in range(store.shards.count):
            hidden = np.array([state(letter, template.name) for letter in letters[store.shards.rows(shard)]])
            logits = HEAD.logits(hidden)[:, columns.ids]
            store.shards.write(template.name, shard, logits, hidden, Audit(2, 1e-6))
    return store


def contents(store: LogitStore) -> dict[str, bytes]:
    parts = ("subjects", "columns", "logits", "hidden", "done", "head")
    return {name: part.tobytes() for name, part in arrays(store.url, *parts).items()}


def test_different_subjects(tmp_path):
    """Also where a shard has rows of both, and some rows are in both."""
    first, second = site(tmp_path / "a", "abcdefghij", CITY), site(tmp_path / "b", "hijklmnop", CITY)
    before = contents(second)
    merged = merge(first, second)
    assert (merged.subjects, merged.templates, merged.shards, merged.missing) == (6, (), 2, 0)
    joined, right = LogitStore.open(first.url), site(tmp_path / "right", "abcdefghijklmnop", CITY)
    assert joined.verify() == []
    mine, wanted = contents(joined), contents(right)
    assert {name for name in wanted if mine[name] != wanted[name]} == {"done/city"}  # but for audits
    records = [np.asarray(arrays(one.url, "done")["done/city"]) for one in (joined, right)]
    np.testing.assert_array_equal(records[0][:, :3], records[1][:, :3])
    assert joined.audit().prompts == 10  # of "h" nothing was taken: its shard's audit does not count
    assert contents(second) == before
    assert merge(LogitStore.open(first.url, write=True), second).shards == 0


def test_different_templates(tmp_path):
    first, second = site(tmp_path / "a", "abcdefghij", CITY), site(tmp_path / "b", "abcdefghij", LAND)
    merged = merge(first, second)
    assert (merged.subjects, merged.templates, merged.shards, merged.missing) == (0, ("land",), 3, 0)
    joined, right = LogitStore.open(first.url), site(tmp_path / "right", "abcdefghij", CITY, LAND)
    assert joined.verify() == []
    assert contents(joined) == contents(right)
    assert joined.templates_added_with("land") == ("land",)  # whoever repairs it asks it as it was asked


def test_what_neither_has_is_left_to_extract(tmp_path):
    first, second = site(tmp_path / "a", "abcdef", CITY), site(tmp_path / "b", "ghijkl", LAND)
    merged = merge(first, second)
    joined = LogitStore.open(first.url)
    assert joined.shards.written("city").tolist() == [1] * 6 + [0] * 6
    assert joined.shards.written("land").tolist() == [0] * 8 + [1] * 4  # a shard is whole or missing
    assert merged.missing == 14
    np.testing.assert_array_equal(joined.hidden("land", np.array([9]))[0], state("j", "land"))


def test_answers_in_another_order(tmp_path):
    turned = replace(COLUMNS, ids=COLUMNS.ids[::-1].copy(), texts=COLUMNS.texts[::-1])
    first = site(tmp_path / "a", "abcd", CITY)
    merge(first, site(tmp_path / "b", "efgh", CITY, columns=turned))
    right = site(tmp_path / "right", "abcdefgh", CITY)
    assert contents(LogitStore.open(first.url)) == contents(right)


def test_what_both_have_is_read_to_verify_and_to_compare_it_and_not_again(tmp_path, read):
    first, second = site(tmp_path / "a", "abcdefgh", CITY), site(tmp_path / "b", "abcdefgh", CITY)
    read.clear()
    assert merge(first, second).shards == 0
    assert read.count("logits/city/c/1/0") == 2 * 2


def test_a_damaged_shard_is_replaced(tmp_path):
    first, second = site(tmp_path / "a", "abcdefgh", CITY), site(tmp_path / "b", "abcdefgh", CITY)
    flip_a_bit(tmp_path / "a" / "hidden" / "city" / "c" / "1" / "0")
    assert merge(first, second).shards == 1
    assert contents(LogitStore.open(first.url)) == contents(second)


def test_a_damaged_shard_is_not_taken(tmp_path):
    first, second = site(tmp_path / "a", "abcd", CITY), site(tmp_path / "b", "efghijkl", CITY)
    flip_a_bit(tmp_path / "b" / "hidden" / "city" / "c" / "1" / "0")
    assert merge(first, second).missing == 4
    assert LogitStore.open(first.url).shards.written("city").tolist() == [1] * 8 + [0] * 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (dict(weights="v"), "model: another model: its weights differ from those of 'model' in"),
        (dict(batch_tokens=4), "cluster.batch_tokens: 4 where the store has 2 for 'model' in"),
        (dict(precision="float16"), "store.precision: float16 where the store has float32 of 'model' in"),
        (dict(tokens="e"), "model: its tokenizer, as it is set"),
        (dict(templates=[Template("city", "{} is in")]), "template 'city': '{} is in' where the store"),
        (
            dict(columns=replace(COLUMNS, ids=np.array([7, 2, 8]))),
            "template 'city' has logits of other answers",
        ),
    ],
)
def test_what_differs_is_refused_by_name(other, said, tmp_path):
    first = site(tmp_path / "a", "abcdefghij", CITY)
    second = site(tmp_path / "b", "klmn", *other.pop("templates", [CITY]), **other)
    before = contents(first)
    assert said in refusal(BadInput, lambda: merge(first, second))
    assert contents(LogitStore.open(first.url)) == before


def test_an_older_store_does_not_remember_its_tokens(tmp_path):
    first = site(tmp_path / "a", "abcd", CITY, tokens="")
    assert merge(first, site(tmp_path / "b", "efgh", CITY)).subjects == 4


@pytest.mark.parametrize(("error", "agrees"), [(1e-5, True), (0.1, False)])
def test_a_row_of_both_must_be_the_same_but_for_rounding(error, agrees, tmp_path):
    first, second = site(tmp_path / "a", "abcdefgh", CITY), site(tmp_path / "b", "fghijk", CITY)
    hidden = second.hidden("city", np.arange(4))
    hidden[1, 0] += error
    second.shards.write("city", 0, HEAD.logits(hidden)[:, COLUMNS.ids], hidden)
    before = contents(first)
    if agrees:
        assert merge(first, second).missing == 0
        np.testing.assert_array_equal(
            LogitStore.open(first.url).hidden("city", np.array([6]))[0], state("g", "city")
        )
        return
    said = refusal(BadInput, lambda: merge(first, second))
    assert "shard 1 of template 'city' is not the same in" in said
    assert contents(LogitStore.open(first.url)) == before


MERGE = (
    "import sys\n"
    "from lincorr.store.merge import merge\n"
    "from lincorr.store.store import LogitStore\n"
    "print('ready', flush=True)\n"
    "merge(LogitStore.open(sys.argv[1], write=True), LogitStore.open(sys.argv[2]))\n"
)


def test_a_merge_that_is_killed_loses_nothing_and_goes_on(tmp_path):
    letters = "".join(chr(i) for i in range(0x4E00, 0x4E00 + 300))
    first, second = site(tmp_path / "a", "ab", CITY, LAND), site(tmp_path / "b", letters, CITY, LAND)
    right = site(tmp_path / "right", "ab" + letters, CITY, LAND)
    before = arrays(first.url, "logits", "hidden")
    process = subprocess.Popen(
        [sys.executable, "-c", MERGE, first.url, second.url], stdout=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 60
    while sum(1 for _ in tmp_path.glob("a/done/*/c/*/0")) < 10:
        assert time.monotonic() < limit
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = LogitStore.open(first.url, write=True)
    assert all("not extracted" in fault or "incomplete" in fault for fault in killed.verify())
    n_done = sum(1 for _ in tmp_path.glob("a/done/*/c/*/0"))
    assert 10 <= n_done < 2 * right.shards.count
    for name, part in arrays(first.url, "logits", "hidden").items():
        assert part[:2].tobytes() == before[name].tobytes()
    assert merge(killed, second).missing == 0
    joined = LogitStore.open(first.url)
    assert joined.verify() == []
    mine, wanted = contents(joined), contents(right)
    assert {name for name in wanted if mine[name] != wanted[name]} <= {"done/city", "done/land"}
