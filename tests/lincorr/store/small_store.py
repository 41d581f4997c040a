"""A store of ten subjects in three shards, and ways to damage its files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import string_subjects
from lincorr.readout import Readout
from lincorr.relations.relation import Template
from lincorr.store.identity import Identity
from lincorr.store.store import LogitStore

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
    tokens="d",
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


def refusal(kind: type[Exception], act: Callable[[], Any]) -> str:
    """The message of the error that `act` runs into, which must be one line."""
    with pytest.raises(kind) as problem:
        act()
    assert "\n" not in str(problem.value)
    return str(problem.value)


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
