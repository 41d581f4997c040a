"""Full-vocabulary least squares through hidden states: exact, and X, Y and W are never formed.

With a linear head, ``X = H1 E1ᵀ`` and ``Y = H2 E2ᵀ`` (H n x d hidden states, E1 p x d and E2 q x d head
rows; biases only move the means). From ``E1ᵀE1 = V Λ Vᵀ``:

    O = E1 V Λ^-½  has orthonormal columns,    G = H1c V Λ^½  (n x k),    Xc = G Oᵀ,

so G has the singular values of Xc, and minimum-norm or ridge coefficients Z of H2c on G give

    W = O Z E2ᵀ = E1 (V Λ^-½ Z) E2ᵀ,

head rows on both sides of a d x d core. Exact also for n < d, p < d and a rank-deficient E1, where the
formula with ``(E1ᵀE1)⁻¹`` is not. Cost ``O(n d² + (p + q) d²)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.readout import Readout
from lincorr.scores.moments import Correlation, CrossMoments
from lincorr.solvers.cutoff import EPS64, noise_floor
from lincorr.solvers.decomposed import FromSpectrum
from lincorr.solvers.result import Diagnosis, HiddenMap, LinearMap, map_through
from lincorr.solvers.spectrum import Spectrum, spectrum

METHOD = "factored"


@dataclass(frozen=True, slots=True)
class Factored(FromSpectrum):
    """Source and target hidden states with their heads, ready to be solved for any penalty.

    The heads may stay on the host while all else lives on a device: a vocabulary's head is large, and seldom
    needed whole.

    Attributes:
        source_ids, target_ids: (p,) and (q,) token ids.
        source_head, target_head: E1 (p, d) and E2 (q, d).
        spectrum: of G (n, k).
        targets, projected: (n, d) and (r, d), as in `Decomposed`.
        source_mean, target_mean: (d,) of the hidden states.
        to_coordinates, from_coordinates: (d, k), as in `Coordinates`.
    """

    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    source_head: Readout
    target_head: Readout
    spectrum: Spectrum
    targets: Array
    projected: Array
    source_mean: Array
    target_mean: Array
    to_coordinates: Array
    from_coordinates: Array
    method: str = METHOD

    @property
    def readout(self) -> Array:
        """(q, d) the target head's rows, scale included."""
        return like(self.target_head.scaled, self.targets)

    def to_map(self, coefficients: Array, diagnosis: Diagnosis) -> LinearMap:
        """Turn coefficients Z (k, d) into the map between logits; W stays three factors."""
        weights = self.to_coordinates @ coefficients
        hidden = HiddenMap(
            weights=to_host(weights),
            intercept=to_host(self.target_mean - self.source_mean @ weights),
            core=to_host(self.from_coordinates @ coefficients),
            source_mean=to_host(self.source_mean),
            target_head=_on_host(self.target_head),
        )
        return map_through(
            hidden,
            _on_host(self.source_head),
            source_ids=self.source_ids,
            target_ids=self.target_ids,
            diagnosis=diagnosis,
        )

    def rows(self, coefficients: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q); only these rows of the source head are used."""
        return self.source_rows(positions) @ coefficients @ self.readout.T

    def source_rows(self, positions: NDArray[np.int64]) -> Array:
        """Return rows of O (len(positions), k): of the source head, in coordinates."""
        head = self.source_head.columns(like(positions, self.source_head.weight))
        return like(head.scaled, self.from_coordinates) @ self.from_coordinates

    @property
    def offset(self) -> Array | None:
        """(q,) the target head's bias, scale included; None where it has none."""
        bias = self.target_head.bias
        return None if bias is None else like(bias * self.target_head.scale, self.targets)

    def score(self, coefficients: Array, moments: CrossMoments) -> Correlation:
        """Score a solution on the moments of source and target hidden states."""
        (found,) = self.scores([coefficients], moments)
        return found

    def scores(self, solutions: Sequence[Array], moments: CrossMoments) -> list[Correlation]:
        """Score several solutions (k, d) at once."""
        weights = [self.to_coordinates @ coefficients for coefficients in solutions]
        maps = [(one, self.target_mean - self.source_mean @ one) for one in weights]
        return moments.correlations(maps, self.readout, self.offset)

    def for_targets(self, target_head: Readout, target_ids: NDArray[np.int64]) -> "Factored":
        """Return the same problem for other target tokens: nothing is decomposed again."""
        return replace(self, target_head=target_head, target_ids=target_ids)

    def with_targets(
        self, target_hidden: Array, target_head: Readout, target_ids: NDArray[np.int64]
    ) -> "Factored":
        """Return the problem of the same source rows and another prompt's hidden states (n, d)."""
        mean = namespace(target_hidden).mean(target_hidden, axis=0)
        exchanged = replace(self.with_centred(target_hidden - mean), target_mean=mean)
        return exchanged.for_targets(target_head, target_ids)


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The coordinates of a head E1 (p, d): of every source that it reads, whatever its prompt.

    Attributes:
        to_coordinates: (d, k) V Λ^½, hidden states to G.
        from_coordinates: (d, k) V Λ^-½, Z to E1's side of W.
    """

    to_coordinates: Array
    from_coordinates: Array


def coordinates_of(source_head: Readout, where: Array) -> Coordinates:
    """Find a float64 head's coordinates, on the device of `where`; ``O(p d²)``."""
    xp = namespace(where)
    E1 = like(source_head.scaled, where)
    values, V = xp.linalg.eigh(E1.T @ E1)  # ascending
    kept = int(xp.sum(xp.astype(values > values.shape[0] * EPS64 * values[-1], xp.int64)))
    root = xp.sqrt(values[-kept:])
    return Coordinates(V[:, -kept:] * root[None, :], V[:, -kept:] / root[None, :])


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
    coordinates: Coordinates | None = None,
) -> Factored:
    """Set up float64 hidden states H1, H2 (n, d) and float64 heads of the source and target tokens.

    Args:
        coordinates: of the source head, if known already.

    Raises:
        ValueError: a head is soft-capped; its logits are not linear in the hidden state.
    """
    if source_head.kind != "linear" or target_head.kind != "linear":
        raise ValueError("a soft-capped head is not linear: fit from logits instead")
    xp = namespace(source_hidden)
    coordinates = coordinates or coordinates_of(source_head, source_hidden)
    to_coordinates, from_coordinates = coordinates.to_coordinates, coordinates.from_coordinates
    target_mean = xp.mean(target_hidden, axis=0)
    decomposed = spectrum(
        source_hidden @ to_coordinates,
        noise=_noise(source_hidden, to_coordinates, storage_eps),
        rcond=rcond,
    )
    targets = target_hidden - target_mean
    return Factored(
        source_ids=source_ids,
        target_ids=target_ids,
        source_head=source_head,
        target_head=target_head,
        spectrum=decomposed,
        targets=targets,
        projected=decomposed.project(targets),
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


def _on_host(head: Readout) -> Readout:
    bias = None if head.bias is None else to_host(head.bias)
    return Readout(to_host(head.weight), bias, head.scale, head.softcap)
