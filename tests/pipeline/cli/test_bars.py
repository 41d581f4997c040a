"""Bars in a terminal: as long as the weights, on one scale."""

import io
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.bars import bars

FILLED = {"█": 1.0, "▐": 0.5} | {block: eighth / 8 for eighth, block in enumerate("▏▎▍▌▋▊▉", start=1)}


def signed_length(bar: str) -> float:
    left, _, right = bar.rpartition("│")
    return sum(FILLED.get(cell, 0) for cell in right) - sum(FILLED.get(cell, 0) for cell in left)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_bars_are_as_long_as_the_weights(weights):
    found = bars(weights, 24)
    assert {len(bar) for bar in found} == {24}
    lengths = [signed_length(bar) for bar in found]
    largest = max(weights, key=abs)
    if largest == 0:
        assert lengths == [0] * len(weights)
        return
    scale = max(abs(length) for length in lengths)
    for length, weight in zip(lengths, weights, strict=True):
        assert length == pytest.approx(weight / abs(largest) * scale, abs=0.6)


def test_the_largest_takes_the_whole_width():
    assert bars([2.0, 1.0, 0.25, 0.0], 8) == ["████████", "████    ", "█       ", " " * 8]
    assert bars([3.0, -1.0], 9) == ["  │██████", "██│      "]
    assert bars([0.0, math.nan], 4) == [" " * 4] * 2


def test_ascii_where_there_are_no_blocks(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert bars([3.0, -1.0], 9) == ["  |######", "--|      "]
