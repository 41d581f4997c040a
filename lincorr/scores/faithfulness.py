"""Faithfulness: does a map answer as the model itself does, right or wrong?

The share of subjects for which the largest predicted logit is the model's own largest, after Hernandez et
al., "Linearity of Relation Decoding in Transformer Language Models" (arXiv 2308.09124). Logits come a panel
of columns at a time; of each row only its largest one is kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace, to_host
from lincorr.scores.bootstrap import LEVEL


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How often a map's largest predicted logit is the model's own largest; null in JSON where unknown.

    Attributes:
        share, low, high: of the held-out subjects, and its 95 % interval over subjects (bootstrap).
        constant: the share that the model's most frequent answer reaches when it is given to all subjects.
        mean: the share that the largest of the mean logits reaches, which a map without a source predicts.
        subjects: how many.
    """

    share: float | None
    low: float | None
    high: float | None
    constant: float | None
    mean: float | None
    subjects: int


class Answers:
    """The column of the largest entry of each row; the first one where several are equal."""

    def __init__(self) -> None:
        self._seen = 0
        self._largest: NDArray[np.floating] | None = None
        self._columns: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, panel: Array) -> None:
        """Go on with the next columns (n, k) of the same rows, on any device."""
        xp = namespace(panel)
        best, largest = to_host(xp.argmax(panel, axis=1)), to_host(xp.max(panel, axis=1))
        if self._largest is None:
            self._largest, self._columns = largest, best
        else:
            self._columns = np.where(largest > self._largest, best + self._seen, self._columns)
            self._largest = np.maximum(largest, self._largest)
        self._seen += panel.shape[1]

    def columns(self) -> NDArray[np.int64]:
        """(n,) positions among all columns that were added."""
        return self._columns


class BothAnswers:
    """The answers of a map and of the model to the same subjects."""

    def __init__(self) -> None:
        self._predicted, self._own, self._mean = Answers(), Answers(), Answers()

    def add(self, predicted: Array, own: Array) -> None:
        """Go on with the next columns (n, k) of predicted logits and of the model's own."""
        self._predicted.add(predicted)
        self._own.add(own)
        self._mean.add(namespace(own).mean(own, axis=0, keepdims=True))

    def score(self, counts: NDArray[np.uint16]) -> Faithfulness:
        """Return how often both agree.

        Args:
            counts: (replicates, n) of `lincorr.scores.bootstrap.row_counts`.
        """
        return agreement(self._predicted.columns(), self._own.columns(), self._mean.columns()[0], counts)


def agreement(
    predicted: NDArray[np.int64], own: NDArray[np.int64], mean: int, counts: NDArray[np.uint16]
) -> Faithfulness:
    """Return how often the columns (n,) with the largest predicted logits are the model's own (n,).

    Args:
        mean: the column with the largest of the mean logits.
        counts: (replicates, n) of `lincorr.scores.bootstrap.row_counts`.
    """
    agree = (predicted == own).astype(np.float64)
    low, high = np.quantile(counts @ agree / len(own), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Faithfulness(
        share=float(agree.mean()),
        low=float(low),
        high=float(high),
        constant=float(np.bincount(own).max() / len(own)),
        mean=float((own == mean).mean()),
        subjects=len(own),
    )


FAITHFULNESS = tuple(
    f"{name}{part}"
    for name in ("faithfulness", "faithfulness_all")
    for part in ("", "_low", "_high", "_constant", "_mean")
)
"""Names of the figures in tables."""


def faithfulness_figures(*found: Faithfulness | None) -> dict[str, float | None]:
    """Return the figures of `FAITHFULNESS` by name, given that of the answers and that of all tokens."""
    figures = [
        figure
        for one in found
        for figure in ((one.share, one.low, one.high, one.constant, one.mean) if one else (None,) * 5)
    ]
    return dict(zip(FAITHFULNESS, figures, strict=True))
