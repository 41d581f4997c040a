"""Others' errors in one line: the reason is in it, wherever it stands."""

import pytest

from lincorr.errors import in_one_line


def test_the_reason_is_kept_in_any_line():
    text = "Failed to load.\n\n  Error details:\n    size mismatch for lm_head\n(see the above report!)\n"
    assert in_one_line(ValueError(text)) == (
        "Failed to load. Error details: size mismatch for lm_head (see the above report!)"
    )


def test_of_a_long_text_both_ends_are_kept():
    said = in_one_line(ValueError("begins so\n" + "and on\n" * 1000 + "because of this"))
    assert said.startswith("begins so and on")
    assert said.endswith("on because of this")
    assert len(said) < 600


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_error_without_a_text_is_named(text):
    assert in_one_line(KeyboardInterrupt(text)) == "KeyboardInterrupt"


def test_credentials_are_left_out_of_every_line():
    said = in_one_line(OSError("cannot reach\nhttps://me:secret@host/x?token=secret"))
    assert "secret" not in said
    assert "cannot reach https://" in said
