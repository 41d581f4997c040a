"""Token text, numbers and moments as a page shows them."""

import pytest

from pipeline.report.pages.format import fixed, moment, spread
from pipeline.report.plots.path import _decade
from pipeline.report.plots.text import count, counted, label, short, signed, visible


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Tokyo", "·Tokyo"),
        (" New York ", "·New York·"),
        ("a\nb", "a⏎b"),
        ("\t", "⇥"),
        ("\x00", "⟨U+0000⟩"),
        ("\u200f", "⟨U+200F⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("\u0301", "◌\u0301"),
        ("\ufffd", "\ufffd"),
        ("  ", "··"),
        ("", "∅"),
        ("x" * 40, "x" * 17 + "…"),
    ],
)
def test_token_text_is_made_visible(token: str, shown: str) -> None:
    assert label(token) == shown
    if len(token) < 18:
        assert "".join(run for run, _ in visible(token)) == shown


def test_numbers() -> None:
    assert [fixed(v) for v in (None, -0.0001, -0.5, 1)] == ["–", "0.000", "−0.500", "1.000"]
    assert short(1.26e-15, 2) == "1.3 × 10⁻¹⁵"
    assert short(3480.123, 4) == "3480"
    assert short(123456.0) == "123\u202f456"
    assert [signed(v, 2) for v in (None, -0.004, -0.006)] == ["unknown", "0.00", "−0.01"]
    assert short(-0.01) == "−0.01"
    assert short(0.0) == "0"
    assert count(49152) == "49\u202f152"
    assert [_decade(v) for v in (1.0, 0.01, 1e-5)] == ["1", "0.01", "10⁻⁵"]


def test_one_alone_is_singular_and_has_no_spread() -> None:
    assert [counted(number, "column") for number in (0, 1, 1200)] == [
        "0 columns",
        "1 column",
        "1\u202f200 columns",
    ]
    assert spread(0.5, 0.25, 2) == "0.50 ± 0.25"
    assert [spread(mean, None) for mean in (-0.5, None)] == ["−0.500", "–"]


def test_moment_is_in_words() -> None:
    assert moment("2026-11-23T20:40:00Z") == "23 November 2026, 20:40 UTC"
    assert moment("2026-11-23T22:40:00+02:00") == "23 November 2026, 20:40 UTC"
    assert moment("yesterday") == "yesterday"
    assert moment(None) == "–"
