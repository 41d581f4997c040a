"""The output head: last hidden states -> logits."""

from dataclasses import dataclass, replace
from typing import Literal

from lincorr.arrays import Array, like, namespace


@dataclass(frozen=True, slots=True)
class Readout:
    """``logits = cap(scale · (hidden @ weight.T + bias))`` with ``cap(x) = softcap · tanh(x / softcap)``.

    Attributes:
        weight: (V, d), one row for each token.
        bias: (V,) or None.
        scale: a constant factor on the logits (Cohere, Granite); 1.0 for most models.
        softcap: of Gemma 2's soft-capping, or None. With it logits are not linear in the hidden state.
    """

    weight: Array
    bias: Array | None = None
    scale: float = 1.0
    softcap: float | None = None

    @property
    def kind(self) -> Literal["linear", "soft-capped"]:
        """Whether logits are a linear function of the hidden state, or one that is soft-capped."""
        return "linear" if self.softcap is None else "soft-capped"

    @property
    def scaled(self) -> Array:
        """The weight times the scale, (V, d); not a copy if the scale is 1."""
        return self.weight if self.scale == 1.0 else self.weight * self.scale

    def describe(self) -> str:
        """Return a phrase with kind, bias, scale and size: "linear with bias, 32000 x 4096"."""
        extras = [" with bias" if self.bias is not None else ""]
        extras.append(f" scaled by {self.scale:g}" if self.scale != 1.0 else "")
        return f"{self.kind}{''.join(extras)}, {self.weight.shape[0]} x {self.weight.shape[1]}"

    def columns(self, ids: Array) -> "Readout":
        """Return the head of the tokens `ids` (int array of the weight's array type), in that order.

        For all tokens in their own order it is this head itself: a fit's largest array is not copied.
        """
        xp = namespace(self.weight)
        tokens = self.weight.shape[0]
        if ids.shape[0] == tokens and bool(xp.all(ids == xp.arange(tokens))):
            return self
        bias = None if self.bias is None else xp.take(self.bias, ids, axis=0)
        return replace(self, weight=xp.take(self.weight, ids, axis=0), bias=bias)

    def beside(self, other: Array) -> "Readout":
        """Return a head of the host where another array lives; there already, it is not copied."""
        bias = None if self.bias is None else like(self.bias, other)
        return replace(self, weight=like(self.weight, other), bias=bias)

    def as_float64(self) -> "Readout":
        """Return the same head in float64."""
        xp = namespace(self.weight)
        bias = None if self.bias is None else xp.astype(self.bias, xp.float64)
        return replace(self, weight=xp.astype(self.weight, xp.float64), bias=bias)

    def logits(self, hidden: Array) -> Array:
        """Return the logits (n, V) of hidden states (n, d), in the common precision of states and head."""
        return self._finished(hidden @ self.weight.T, self.bias)

    def by_token(self, hidden: Array) -> Array:
        """Return the same logits, token by token (V, n)."""
        return self._finished(self.weight @ hidden.T, None if self.bias is None else self.bias[:, None])

    def _finished(self, logits: Array, bias: Array | None) -> Array:
        xp = namespace(logits)
        if bias is not None:
            logits += bias  # in place: for all subjects they are a large array
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits = self.softcap * xp.tanh(logits / self.softcap)
        return logits
