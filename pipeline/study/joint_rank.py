"""How many directions of the source the maps of a group need: each by itself, and all of them together."""

import numpy as np

from lincorr.scores.directions import Floats, directions, fewest, r_by_rank, under
from lincorr.scores.moments import CrossMoments
from lincorr.scores.study import JointRank, RankPoint
from pipeline.study.exchanged import ExchangedMaps

SHARE = 0.99
"""Of each map's r that is to be kept."""
_FIRST, _MORE = 10, 30  # numbers of directions that are reported: the first ten, and so many beyond


def joint_rank(maps: ExchangedMaps) -> JointRank:
    """Find the directions on the fitted rows, and score them on those held out.

    Raises:
        StoreDamaged: a row or a map is missing or damaged.
    """
    covariances = [moments.xx / moments.count for moments in maps.fitted]
    scaled = [w / _deviations(m) for w, m in zip(maps.weights, maps.fitted, strict=True)]
    shared = directions(np.mean(covariances, axis=0), np.concatenate(scaled, axis=1))
    together, alone = [], []
    for covariance, in_units, weights, rows in zip(
        covariances, scaled, maps.weights, maps.held_out, strict=True
    ):
        together.append(r_by_rank(under(shared, covariance), weights, rows))
        alone.append(r_by_rank(directions(covariance, in_units), weights, rows))
    return _found(_same_length([*together, *alone]), np.array([curve[-1] for curve in alone]))


def _deviations(moments: CrossMoments) -> Floats:
    """Return (q,) standard deviations of the targets; 1 of one that does not vary."""
    variances = np.diag(moments.yy) / moments.count
    return np.sqrt(np.where(variances > 0, variances, 1.0))


def _same_length(curves: list[Floats]) -> Floats:
    """Put curves below each other; one that ends earlier goes on as it ends."""
    most = max(map(len, curves))
    return np.array([np.pad(curve, (0, most - len(curve)), mode="edge") for curve in curves])


def _found(curves: Floats, whole: Floats) -> JointRank:
    together, alone = np.split(curves, 2)
    joint = fewest(together, whole, SHARE)
    own = [fewest(r[None], full[None], SHARE) for r, full in zip(alone, whole, strict=True)]
    most = curves.shape[1]
    shown = {*range(1, min(_FIRST, most) + 1), *np.geomspace(1, most, _MORE).round().astype(int).tolist()}
    shown |= {k for k in (joint, *own) if k is not None}
    return JointRank(
        share=SHARE,
        r=_figures(whole),
        together=joint,
        alone=tuple(own),
        points=tuple(
            RankPoint(k, _figures(together[:, k - 1]), _figures(alone[:, k - 1])) for k in sorted(shown)
        ),
    )


def _figures(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)
