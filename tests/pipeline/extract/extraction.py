"""An extraction of many small shards, and what its store must hold."""

import json
from pathlib import Path

import numpy as np
import pytest

from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from tests.stores import array

SUBJECTS, SHARD_ROWS = 140, 4

SHARDS = SUBJECTS // SHARD_ROWS

TEMPLATES = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


def extracted(store: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """Run `lincorr extract` here; return what it says that it did."""
    assert main(["extract", *flags, "--store", str(store), "--cluster-kind", "serial", "--json"]) == 0
    receipt: dict[str, int] = json.loads(capsys.readouterr().out)
    return receipt


def assert_equal_bits(store: Path, right: Path) -> None:
    assert LogitStore.open(str(store)).verify() == []
    for name in ("subjects/id", "subjects/text", "head/weight"):
        np.testing.assert_array_equal(array(store, name), array(right, name), err_msg=name)
    for kind in ("logits", "hidden"):
        for template in TEMPLATES:
            name = f"{kind}/{template}"
            assert array(store, name).tobytes() == array(right, name).tobytes(), name
