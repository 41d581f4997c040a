"""How hit rates are found in a fit of the results document."""

from pipeline.plots.figure import Json

DIRECTIONS = ("influenced target", "influencing source")
RANKS = ("1", "3", "5")


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
