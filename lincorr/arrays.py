"""Where an array lives: its namespace, and copies between host and device.

Kernels ask the array (``namespace(x)``) instead of remembering a device. Only the edge of a worker calls
`to_device` and `to_host`. Beside `transfers.py`, whose copies run in other threads, this is the one file that
knows CuPy, and importing it makes no GPU context.
"""

from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from lincorr.errors import in_one_line

_NO_DEVICE, _NO_DRIVER = 100, 35  # of CUDA's errors; the second also where the driver is too old
_DRIVER = Path("/proc/driver/nvidia")

Array = Any  # any array-API array: NumPy, CuPy, array-api-strict


def namespace(*arrays: Array) -> Any:
    """Return the array-API namespace that all `arrays` belong to."""
    return array_api_compat.array_namespace(*arrays)


def device(array: Array) -> Any:
    """Return the device of an array, as its namespace names it."""
    return array_api_compat.device(array)


def to_device(array: NDArray[Any], kind: str) -> Array:
    """Copy a host array to a device of a kind: "cpu" returns it as it is, "cuda" returns a CuPy array.

    CuPy copies through page-locked memory of its own pool.
    """
    if kind == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def has_gpu() -> bool:
    """Whether CuPy is installed, sees a GPU, and finds CUDA's libraries."""
    return _look_for_gpu() == (True, None)


def gpu_fault() -> str | None:
    """Return why CuPy, which is installed, cannot use a GPU of this machine.

    None where it can, and where there is nothing to use: no CuPy, or no GPU.
    """
    return _look_for_gpu()[1]


def _look_for_gpu() -> tuple[bool, str | None]:
    """Return whether there is a GPU for CuPy, and what keeps it from using it."""
    try:
        import cupy
    except ModuleNotFoundError as problem:
        return False, None if problem.name == "cupy" else _named(problem)
    except Exception as problem:
        return False, _named(problem)
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return False, None
        cupy.linalg.cholesky(cupy.eye(1) @ cupy.eye(1))
    except Exception as problem:  # driver, memory, cuBLAS or cuSOLVER: each fails in its own way
        status = getattr(problem, "status", None)
        absent = status == _NO_DEVICE or (status == _NO_DRIVER and not _DRIVER.exists())
        return False, None if absent else _named(problem)
    return True, None


def _named(problem: Exception) -> str:
    return f"{type(problem).__name__}: {in_one_line(problem)}"


def free_bytes() -> int:
    """Return the bytes of GPU memory that this process can still allocate."""
    import cupy

    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free + cupy.get_default_memory_pool().free_bytes())


def limit_memory(kind: str, n_bytes: int) -> None:
    """Limit this process to `n_bytes` of a device's memory (0: no limit); on "cpu", do nothing."""
    if kind != "cpu":
        import cupy

        cupy.get_default_memory_pool().set_limit(size=n_bytes)


def to_host(array: Array, stream: Any = None) -> NDArray[Any]:
    """Copy any array to the host as NumPy, on a CUDA stream if one is given; return when it is there."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_cupy_array(array):
        import cupyx

        pinned = cupyx.empty_pinned(array.shape, array.dtype)  # page-locked: at the bus's full speed
        return np.asarray(array.get(stream, out=pinned))
    host = array.__array_namespace__().__array_namespace_info__().default_device()
    return np.asarray(array.to_device(host))


def as_float64(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return a host array in float64; one that is float64 already is returned as it is."""
    return np.asarray(array, dtype=np.float64)


def like(array: Array, other: Array) -> Array:
    """Put a host array where `other` lives; one that lives there is returned as it is."""
    if isinstance(array, np.ndarray) and isinstance(other, np.ndarray):
        return array
    return namespace(other).asarray(array, device=device(other))


def scattered(values: Array, order: Array) -> Array:
    """Return the vector whose entry ``order[i]`` is ``values[i]``, for a permutation `order`."""
    if isinstance(values, np.ndarray) or array_api_compat.is_cupy_array(values):
        result = namespace(values).empty_like(values)
        result[order] = values
        return result
    xp = namespace(values)
    return xp.take(values, xp.argsort(order), axis=0)  # the standard has no assignment by an index array


def add_product(total: Array, a: Array, b: Array, *, sign: float = 1.0) -> Array:
    """Return ``total + sign · a @ b``; `total` may be overwritten with the result."""
    if array_api_compat.is_cupy_array(total):
        from cupy import cublas

        return cublas.gemm("N", "N", a, b, out=total, alpha=sign, beta=1.0)
    if isinstance(total, np.ndarray) and total.flags.forc and total.dtype == np.float64:
        if total.flags.f_contiguous:
            _add_in_place(total, a, b, sign)
        else:
            _add_in_place(total.T, b.T, a.T, sign)
        return total
    return total + a @ b if sign > 0 else total - a @ b


def add_square(total: Array, a: Array, *, sign: float = 1.0) -> Array:
    """Return ``total + sign · a @ a.T`` of a symmetric `total`, which may be overwritten.

    Only the lower triangle of `total` is read, and only that of the result is valid.
    """
    if isinstance(total, np.ndarray) and total.flags.c_contiguous and total.dtype == np.float64:
        from scipy.linalg.blas import dsyrk

        # half of the work of a product; what is lower by rows is upper by columns
        part, is_turned = _fortran(a)
        dsyrk(sign, part, 1.0, total.T, trans=is_turned, lower=0, overwrite_c=True)
        return total
    return add_product(total, a, a.T, sign=sign)


def cholesky(matrix: Array) -> Array:
    """Return the lower Cholesky factor of a matrix; only its lower triangle is read.

    Raises:
        LinAlgError: it is not positive definite. CuPy returns NaN then.
    """
    if isinstance(matrix, np.ndarray):
        import scipy.linalg

        return scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    return namespace(matrix).linalg.cholesky(matrix)


def _add_in_place(total: NDArray[Any], a: NDArray[Any], b: NDArray[Any], sign: float) -> None:
    from scipy.linalg.blas import dgemm

    (left, left_turned), (right, right_turned) = _fortran(a), _fortran(b)
    dgemm(sign, left, right, 1.0, total, left_turned, right_turned, overwrite_c=True)


def _fortran(matrix: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return a matrix, or its transpose and True, whichever BLAS can take without a copy."""
    return (matrix, False) if matrix.flags.f_contiguous else (matrix.T, True)


def solve_triangular(triangle: Array, right: Array, *, lower: bool) -> Array:
    """Return X (b, m) with ``triangle @ X = right`` for a triangle (b, b)."""
    if isinstance(triangle, np.ndarray):
        from scipy.linalg.blas import dtrsm

        # Xᵀ triangleᵀ = rightᵀ: with rows in order, BLAS solves it from the right without a copy, 1.3 times
        # as fast as LAPACK's way from the left
        turned, is_turned = _fortran(triangle.T)
        return dtrsm(1.0, turned, right.T, side=1, lower=lower == is_turned, trans_a=is_turned).T
    if array_api_compat.is_cupy_array(triangle):
        from cupyx.scipy.linalg import solve_triangular as on_gpu

        return on_gpu(triangle, right, lower=lower)
    return namespace(triangle, right).linalg.solve(triangle, right)  # array-API has no triangular solve
