"""BLAS on float64 arrays of the host, by the routines that SciPy publishes for Cython.

SciPy's own wrappers hold Python's lock as long as a product takes, and a thread that reads ahead then waits
for every product. Called through ctypes, as here, they release it.
"""

import functools
from collections.abc import Callable
from ctypes import CFUNCTYPE, byref, c_char_p, c_double, c_int64, c_void_p, py_object, pythonapi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def add_product(total: Doubles, a: Doubles, b: Doubles, sign: float) -> None:
    """Add ``sign · a @ b`` to `total` (m, n), in place; `total` is contiguous, its rows or its columns."""
    if not total.flags.f_contiguous:
        total, a, b = total.T, b.T, a.T
    (left, left_is), (right, right_is) = _by_columns(a), _by_columns(b)
    (m, n), k = total.shape, a.shape[1]
    if m and n and k:
        sizes = (_int(m), _int(n), _int(k))
        one, other = (_at(left), _int(left.shape[0])), (_at(right), _int(right.shape[0]))
        result = (_at(total), _int(m))
        _routine("dgemm", 13)(left_is, right_is, *sizes, _double(sign), *one, *other, _double(1.0), *result)


def add_square(total: Doubles, a: Doubles, sign: float) -> None:
    """Add ``sign · a @ a.T`` to the lower triangle of `total` (m, m), in place; its rows are contiguous."""
    part, is_turned = _by_columns(a)
    m, k = a.shape
    if m and k:
        # half of the work of a product; what is lower by rows is upper by columns
        own, result = (_at(part), _int(part.shape[0])), (_at(total), _int(m))
        _routine("dsyrk", 10)(b"U", is_turned, _int(m), _int(k), _double(sign), *own, _double(1.0), *result)


def solve_from_the_right(triangle: Doubles, right: Doubles, *, lower: bool) -> Doubles:
    """Return X (m, b) with ``X @ triangle = right`` for a triangle (b, b), by columns."""
    turned, is_turned = _by_columns(triangle)
    found = np.array(right, dtype=np.float64, order="F")  # overwritten with X
    m, b = found.shape
    if m and b:
        half = b"L" if lower != (is_turned == b"T") else b"U"
        own, result = (_at(turned), _int(b)), (_at(found), _int(m))
        _routine("dtrsm", 11)(b"R", half, is_turned, b"N", _int(m), _int(b), _double(1.0), *own, *result)
    return found


def _by_columns(matrix: Doubles) -> tuple[Doubles, bytes]:
    """Return a matrix whose columns are contiguous, or its transpose and b"T", without a copy if possible."""
    if matrix.flags.f_contiguous or not matrix.flags.c_contiguous:
        return np.asfortranarray(matrix, dtype=np.float64), b"N"
    return np.asarray(matrix, dtype=np.float64).T, b"T"


def _at(matrix: Doubles) -> c_void_p:
    return c_void_p(matrix.ctypes.data)


def _int(number: int) -> Any:
    return byref(c_int64(number))  # read as 32 or 64 bits, as BLAS was built: the low ones come first


def _double(number: float) -> Any:
    return byref(c_double(number))


@functools.cache
def _routine(name: str, arguments: int) -> Callable[..., None]:
    from scipy.linalg import cython_blas

    capsule = py_object(cython_blas.__pyx_capi__[name])
    name_of, address_of = pythonapi.PyCapsule_GetName, pythonapi.PyCapsule_GetPointer
    name_of.restype, address_of.restype = c_char_p, c_void_p
    address_of.argtypes = [py_object, c_char_p]
    return CFUNCTYPE(None, *[c_void_p] * arguments)(address_of(capsule, name_of(capsule)))
