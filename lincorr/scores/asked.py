"""The ceiling of what a map can be read for: what the model says when it is asked outright."""

from collections.abc import Sequence
from dataclasses import dataclass

from lincorr.scores.relation_scores import INFLUENCED_TARGET, AskedScores, Figure, HitRates


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The highest hit@1 of all that was asked: it is chosen by the truth.

    Attributes:
        share: the hit@1.
        asked, shots: of the prompt that reached it.
        calibrated: whether it did so calibrated.
        best_of: how many readings there were: a prompt counts twice where it was read calibrated, too.
    """

    share: float
    asked: str
    shots: int
    calibrated: bool
    best_of: int


def ceiling(asked: Sequence[AskedScores] | None, direction: str) -> Ceiling | None:
    """Return the ceiling of one of `DIRECTIONS`; None where nothing was asked, or nothing can be scored."""
    readings = [
        (rates.at_1, one, calibrated)
        for one in asked or ()
        for rates, calibrated in _readings(one, direction)
        if rates is not None and rates.at_1 is not None
    ]
    if not readings:
        return None
    share, best, calibrated = max(readings, key=lambda reading: reading[0])
    return Ceiling(share, best.asked, best.shots, calibrated, len(readings))


def ceiling_share(asked: Sequence[AskedScores] | None, direction: str) -> Figure:
    """Return the hit@1 of the ceiling of one of `DIRECTIONS`, None where there is none."""
    best = ceiling(asked, direction)
    return None if best is None else best.share


def _readings(one: AskedScores, direction: str) -> list[tuple[HitRates | None, bool]]:
    plain = [(one.hits.rates(direction), False)]
    return [*plain, (one.calibrated, True)] if direction == INFLUENCED_TARGET else plain


def share_known(hit: Figure, best: Ceiling | None) -> Figure:
    """Return which share of what the model knows a map is read for: its hit@1 over the ceiling."""
    return hit / best.share if hit is not None and best is not None and best.share else None
