"""An extraction of many small shards, and what its store must hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from pipeline.runtime.device import compute
from tests.stores import array

SUBJECTS, SHARD_ROWS = 140, 4

SHARDS = SUBJECTS // SHARD_ROWS

TEMPLATES = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


def extract_here(store: Path, flags: list[str]) -> None:
    """Run `lincorr extract --json` in this process with one thread, as each of two local workers has.

    On some processors (AMD's, with MKL) the last bits of small products depend on the number of threads,
    which torch keeps for each calling thread.
    """
    threads = compute(torch.get_num_threads)
    compute(torch.set_num_threads, 1)
    try:
        assert main(["extract", *flags, "--store", str(store), "--cluster-kind", "serial", "--json"]) == 0
    finally:
        compute(torch.set_num_threads, threads)


def extracted(store: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """Extract in this process; return what the command says that it did."""
    extract_here(store, flags)
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
