"""The output head: written, read once, and damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lincorr.errors import StoreDamaged
from lincorr.readout import Readout
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import COLUMNS, HEAD, HIDDEN, IDENTITY, make, refusal, spoilt


@spoilt
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_spoilt_head_is_found(url: Path, part: str, spoil: Callable[[Path], None]) -> None:
    store = make(url)
    spoil(next(path for path in (url / "head" / part / "c").rglob("*") if path.is_file()))
    [fault] = store.verify()
    assert fault.startswith("head: ")
    assert "the output head" in refusal(StoreDamaged, store.readout)
    assert len(store.logits("city", COLUMNS.ids, np.array([0]))) == 1  # kept columns need no head


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
