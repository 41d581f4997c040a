"""Full-vocabulary least squares through hidden states: exact, and X, Y and W are never formed.

With a linear head, ``X = H1 E1ᵀ`` and ``Y = H2 E2ᵀ`` (H n x d hidden states, E1 p x d and E2 q x d head
rows; biases only move the means). From ``E1ᵀE1 = V Λ Vᵀ``:

    O = E1 V Λ^-½  has orthonormal columns,    G = H1c V Λ^½  (n x k),    Xc = G Oᵀ,

so G has the singular values of Xc, and minimum-norm or ridge coefficients Z of H2c on G give

    W = O Z E2ᵀ = (E1 V Λ^-½ Z) E2ᵀ,

two thin factors. Exact also for n < d, p < d and a rank-deficient E1, where the formula with
``(E1ᵀE1)⁻¹`` is not. Cost ``O(n d² + (p + q) d²)``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace, to_host
from lincorr.readout import Readout
from lincorr.solvers.cutoff import EPS64, noise_floor
from lincorr.solvers.result import Diagnosis, Factors, LinearMap, Weights
from lincorr.solvers.spectrum import Spectrum, spectrum

METHOD = "factored"


@dataclass(frozen=True, slots=True)
class Factored:
    """Source and target hidden states with their heads, ready to be solved for any penalty."""

    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    source_head: Readout
    target_head: Readout
    spectrum: Spectrum
    targets: Array
    source_mean: Array
    target_mean: Array
    to_coordinates: Array
    from_coordinates: Array
    method: str = METHOD

    @property
    def readout(self) -> Array:
        """(q, d) the target head's rows, scale included."""
        return self.target_head.weight * self.target_head.scale

    def to_map(self, coefficients: Array, diagnosis: Diagnosis) -> LinearMap:
        """Carry coefficients Z (k, d) to the logits on both sides.

        The weights are dense where that is smaller than two factors (q <= d).
        """
        inner = self.from_coordinates @ coefficients  # (d, d)
        through = self.to_coordinates @ coefficients  # (d, d): H1 -> H2
        left = (self.source_head.weight * self.source_head.scale) @ inner
        target_mean = self.target_head.logits(self.target_mean[None, :])[0, :]
        hidden_mean = self.source_mean @ through @ self.readout.T
        source_mean = self.source_head.logits(self.source_mean[None, :])[0, :]
        return LinearMap(
            self.source_ids,
            self.target_ids,
            self._product(left),
            to_host(target_mean - (source_mean @ left) @ self.readout.T),
            diagnosis,
            hidden_weights=self._product(through),
            hidden_intercept=to_host(target_mean - hidden_mean),
        )

    def rows(self, coefficients: Array, positions: NDArray[np.int64]) -> Array:
        """Return rows of W; only these rows of the source head are used."""
        xp = namespace(coefficients)
        head = self.source_head.columns(xp.asarray(positions))
        return (head.weight * head.scale) @ (self.from_coordinates @ coefficients) @ self.readout.T

    def predict(self, coefficients: Array, source: Array) -> Array:
        """Return target logits for source hidden states (n, d)."""
        reduced = source @ self.to_coordinates - self.spectrum.mean
        return self.target_head.logits(reduced @ coefficients + self.target_mean)

    def _product(self, left: Array) -> Weights:
        q, d = self.readout.shape
        if q <= d:
            return to_host(left @ self.readout.T)
        return Factors(to_host(left), to_host(self.readout))


def factored(
    source_hidden: Array,
    target_hidden: Array,
    source_head: Readout,
    target_head: Readout,
    *,
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    storage_eps: float,
    rcond: float | None = None,
) -> Factored:
    """Set up float64 hidden states H1, H2 (n, d) and float64 heads of the source and target tokens.

    Raises:
        ValueError: a head is soft-capped; its logits are not linear in the hidden state.
    """
    if source_head.kind != "linear" or target_head.kind != "linear":
        raise ValueError("a soft-capped head is not linear: fit from logits instead")
    xp = namespace(source_hidden, source_head.weight)
    E1 = source_head.weight * source_head.scale
    values, V = xp.linalg.eigh(E1.T @ E1)  # ascending
    kept = int(xp.sum(xp.astype(values > values.shape[0] * EPS64 * values[-1], xp.int64)))
    root = xp.sqrt(values[-kept:])
    to_coordinates = V[:, -kept:] * root[None, :]  # H1 -> G
    from_coordinates = V[:, -kept:] / root[None, :]  # Z -> E1's side of W
    target_mean = xp.mean(target_hidden, axis=0)
    decomposed = spectrum(
        source_hidden @ to_coordinates,
        noise=_noise(source_hidden, to_coordinates, storage_eps),
        rcond=rcond,
    )
    return Factored(
        source_ids=source_ids,
        target_ids=target_ids,
        source_head=source_head,
        target_head=target_head,
        spectrum=decomposed,
        targets=target_hidden - target_mean,
        source_mean=xp.mean(source_hidden, axis=0),
        target_mean=target_mean,
        to_coordinates=to_coordinates,
        from_coordinates=from_coordinates,
    )


def _noise(hidden: Array, to_coordinates: Array, storage_eps: float) -> float:
    """Return τ of ``G = H B``: the hidden states' rounding errors, carried through B (d, k)."""
    xp = namespace(hidden, to_coordinates)
    squares = hidden * hidden
    by_row = squares @ xp.sum(to_coordinates * to_coordinates, axis=1)
    by_column = xp.sum(squares, axis=0) @ (to_coordinates * to_coordinates)
    return noise_floor(xp.sqrt(by_row), xp.sqrt(by_column), storage_eps)
