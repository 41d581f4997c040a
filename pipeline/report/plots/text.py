"""Token text and numbers as a plot or page shows them: nothing invisible, real minus signs."""

import unicodedata
from collections.abc import Sequence
from itertools import groupby

MISSING = "–"
SYMBOLS = {"\n": "⏎", "\t": "⇥"}
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def visible(text: str) -> list[tuple[str, bool]]:
    """Split token text into runs (shown text, whether it stands for something invisible).

    The shown text has no control, format or surrogate characters, and no blank but single
    spaces inside, so that it cannot reorder or break what surrounds it.
    """
    if not text:
        return [("∅", True)]
    start, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    shown = [
        ("·", True) if char == " " and not start <= at < end else _visible_char(char)
        for at, char in enumerate(text)
    ]
    if unicodedata.combining(text[0]):
        shown.insert(0, ("◌", True))  # else the accent would land on the character before
    return [
        ("".join(char for char, _ in run), symbol) for symbol, run in groupby(shown, key=lambda pair: pair[1])
    ]


def _visible_char(char: str) -> tuple[str, bool]:
    if char in SYMBOLS:
        return SYMBOLS[char], True
    if char != " " and unicodedata.category(char) in HIDDEN_CATEGORIES:
        return f"⟨U+{ord(char):04X}⟩", True
    return char, False


def label(text: str, longest: int = 18) -> str:
    """Token text for a plot: visible, one line, at most `longest` characters."""
    shown = "".join(run for run, _ in visible(text))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def minus(text: str) -> str:
    """The text with real minus signs; for numbers only."""
    return text.replace("-", "−")


def numbers(values: Sequence[float | None]) -> list[float]:
    """The values that are not None."""
    return [value for value in values if value is not None]


def signed(value: float | None, digits: int) -> str:
    """A number for screen readers: a real minus sign, no negative zero, "unknown" where it is missing."""
    return "unknown" if value is None else minus(f"{value:z.{digits}f}")


def short(value: float | None, digits: int = 3) -> str:
    """A number of any size in a few characters: 3480, 0.001, 1.2 × 10⁻¹⁵."""
    if value is None:
        return MISSING
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent:
        return minus(mantissa)
    if 0 < int(exponent) < 6:
        return count(round(value))
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{minus(mantissa)} × 10{power}"


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands."""
    return MISSING if value is None else minus(f"{value:,}".replace(",", "\u202f"))


def counted(number: int, one: str) -> str:
    """A number of things: 1 column, 12 columns."""
    return f"{count(number)} {one}{'' if number == 1 else 's'}"
