"""The largest logit of each row among all tokens: searched in float32, decided in float64."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.readout import Readout

_PANEL = 2048
_UNIT = 2.0**-24  # half the distance of 1 to the next float32


def largest_logits(head: Readout, hidden: Array) -> NDArray[np.int64]:
    """Return the token (n,) of each hidden state's largest logit; the first one where several are equal.

    Products are made where the hidden states live; the head goes there a panel of tokens at a time.

    A product in float32 takes half the time, and is off by no more than ``(d + 4) u |h| |e|`` (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1). Only panels of tokens whose largest logit is within
    twice that of a row's largest are computed in float64.

    Args:
        head: linear, of all tokens, float32, on the host.
        hidden: (n, d) float64.
    """
    xp, weight = namespace(hidden), np.asarray(head.weight)
    states, (n, width) = xp.astype(hidden, xp.float32), hidden.shape
    panels = [slice(start, start + _PANEL) for start in range(0, len(weight), _PANEL)]
    found = [xp.max(_head_panel(head, panel).beside(states).logits(states), axis=1) for panel in panels]
    largest = np.stack([to_host(one) for one in found])
    squares = max(float(np.einsum("ij,ij->i", part, part).max()) for part in (weight[p] for p in panels))
    norms = to_host(xp.linalg.vector_norm(hidden, axis=1))
    bound = (width + 4) * _UNIT * norms * np.sqrt(squares * 1.001)
    if head.bias is not None:
        bound = bound + 4 * _UNIT * (np.abs(head.bias).max() + np.abs(largest).max(axis=0) / abs(head.scale))
    maybe = largest >= largest.max(axis=0) - 2.001 * abs(head.scale) * bound - 1e-30
    best, tokens = np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    for panel, of_panel in zip(panels, maybe, strict=True):
        (rows,) = np.nonzero(of_panel)
        if not len(rows):
            continue
        unsure = xp.take(hidden, like(rows, hidden), axis=0)
        logits = _head_panel(head, panel).beside(hidden).as_float64().logits(unsure)
        columns, highest = to_host(xp.argmax(logits, axis=1)), to_host(xp.max(logits, axis=1))
        better = highest > best[rows]
        best[rows[better]], tokens[rows[better]] = highest[better], panel.start + columns[better]
    return tokens


def _head_panel(head: Readout, panel: slice) -> Readout:
    """Return the head of consecutive tokens, without a copy."""
    bias = None if head.bias is None else head.bias[panel]
    return replace(head, weight=head.weight[panel], bias=bias)
