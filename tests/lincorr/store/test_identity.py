"""A store's identity: what is accepted, and what is refused."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lincorr.errors import BadInput
from lincorr.store.identity import Identity
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import IDENTITY, refusal


def test_the_same_identity_is_accepted_from_anywhere(url: Path) -> None:
    store = LogitStore.create(str(url), IDENTITY)
    store.require(replace(IDENTITY, source="/elsewhere/model", revision="main"))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("config", "x", "model: another model: its configuration"),
        ("weights", "x", "model: another model: its weights"),
        ("tokenizer", "x", "model: another model: its tokenizer"),
        ("tokens", "x", "makes other tokens than that of"),
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


def test_an_older_stores_identity_has_no_digest_of_tokens() -> None:
    older = {name: value for name, value in asdict(IDENTITY).items() if name != "tokens"}
    assert Identity.from_json(older) == replace(IDENTITY, tokens="")
