"""How hit rates and coverage are found in the results document."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


DIRECTIONS = ("influenced target", "influencing source")


RANKS = ("1", "3", "5")


COVERAGES = (
    ("whole", "the answer is one token"),
    ("phrase", "its first word is one token, which stands for it"),
    ("subword", "its first word is several tokens"),
)


def hit(fit: Json, direction: str, rank: str) -> float | None:
    """The share of known sources (or targets) with a right one among the `rank` strongest."""
    scores = (fit["hits"] or {}).get(direction) or {}
    value: float | None = scores.get(rank)
    return value


def chance(fit: Json, direction: str, rank: str) -> float | None:
    """The share of `hit` that weights in random order would have."""
    scores = (fit["hits"] or {}).get(direction) or {}
    value: float | None = (scores.get("chance") or {}).get(rank)
    return value


def covered(side: Json, kind: str) -> int | None:
    """How many of a side's answers are of a kind of `COVERAGES`; None where nobody counted."""
    value: int | None = (side.get("coverage") or {}).get(kind)
    return value
