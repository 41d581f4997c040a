"""The thin SVD of a tall matrix, by products where its condition allows.

A Householder SVD of X (n, k) with n >> k spends most of its time on thin updates. The eigenvectors of XᵀX are
right singular vectors but for the accuracy that squaring costs, and a second round gives it back, as in
CholeskyQR2 (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya, ETNA 44, 2015):

    XᵀX = V1 diag(s1²) V1ᵀ,    U1 = X V1 diag(1/s1),    U1ᵀU1 = Rᵀ R,    R diag(s1) = Û diag(s) V2ᵀ,
    U = U1 R⁻¹ Û,    V = V1 V2.

V1 is orthogonal, so X - U1 diag(s1) V1ᵀ is rounding; U1 is orthonormal to eps κ², and R, close to one, mends
that to rounding. A matrix that is worse conditioned, or not tall, is left to the library.
"""

from lincorr.arrays import Array, namespace

TALL = 4  # rows a column from which the detour is the shorter way
CONDITION = 1e6  # well below eps^-½ = 6.7e7: U1 is orthonormal to a thousandth even at the edge


def thin_svd(matrix: Array) -> tuple[Array, Array, Array]:
    """Return U (n, m), s (m,) descending and Vᵀ (m, k) of a float64 matrix (n, k), m = min(n, k)."""
    if matrix.shape[0] >= TALL * matrix.shape[1]:
        found = _by_products(matrix)
        if found is not None:
            return found
    left, values, right_t = namespace(matrix).linalg.svd(matrix, full_matrices=False)
    return left, values, right_t


def _by_products(matrix: Array) -> tuple[Array, Array, Array] | None:
    """Return the SVD, or None where the condition number is too large."""
    xp = namespace(matrix)
    squares, right = xp.linalg.eigh(matrix.T @ matrix)  # ascending
    if not float(squares[0]) * CONDITION**2 > float(squares[-1]):
        return None
    rough = xp.sqrt(squares)
    left = matrix @ (right / rough[None, :])
    triangle = xp.linalg.cholesky(left.T @ left).T
    rotation, values, turn = xp.linalg.svd(triangle * rough[None, :], full_matrices=False)
    return left @ xp.linalg.solve(triangle, rotation), values, turn @ right.T
