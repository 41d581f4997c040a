"""Bars for a terminal: blocks where its encoding has them, else signs of ASCII."""

import math
from collections.abc import Sequence

from pipeline.cli.output import can_show

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WIDTH = 24


def bars(weights: Sequence[float | None], width: int = _WIDTH) -> list[str]:
    """Return one bar for each weight, all of `width` cells and of one scale, negative ones left of a line.

    Where no weight is negative there is no line, and the largest takes the whole width.
    """
    known = [weight if weight is not None and math.isfinite(weight) else 0.0 for weight in weights]
    largest = max(map(abs, known), default=0.0)
    if largest == 0:
        return [" " * width for _ in weights]
    shares = [weight / largest for weight in known]
    lowest, highest = min(0.0, *shares), max(0.0, *shares)
    blocks = can_show(_EIGHTHS + "▐│")
    if lowest == 0:
        return [_rightwards(share, width, width, blocks=blocks) for share in shares]
    left = min(max(1, round((width - 1) * -lowest / (highest - lowest))), width - 2 if highest else width - 1)
    right = width - 1 - left
    scale = min(left / -lowest, right / highest if highest else math.inf)
    line = "│" if blocks else "|"
    return [
        _leftwards(share, scale, left, blocks=blocks) + line + _rightwards(share, scale, right, blocks=blocks)
        for share in shares
    ]


def _rightwards(share: float, scale: float, width: int, *, blocks: bool) -> str:
    length = max(0.0, share * scale)
    if not blocks:
        return ("#" * round(length)).ljust(width)
    eighths = round(8 * length)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(width)


def _leftwards(share: float, scale: float, width: int, *, blocks: bool) -> str:
    """There is no block of eighths at the right: halves are the finest."""
    length = max(0.0, -share * scale)
    if not blocks:
        return ("-" * round(length)).rjust(width)
    halves = round(2 * length)
    return ("▐" * (halves % 2) + "█" * (halves // 2)).rjust(width)
