"""Text of others is shown without steering the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Tokyo", " Tokyo"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\nb\tc\rd", "a\nb\\tc\\rd"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2028c", r"a\u202eb\u2028c"),
        ("\ud800", r"\ud800"),
        ("東京 Zürich\u00a0é", "東京 Zürich\u00a0é"),
    ],
)
def test_what_steers_is_escaped_and_words_are_not(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(codec=None, categories=None)))
def test_nothing_that_steers_is_left_and_all_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert {unicodedata.category(letter) for letter in shown if letter != "\n"} & {"Cc", "Cf", "Cs"} == set()
    shown.encode()
    assert visible(shown) == shown
