"""What `lincorr.arrays` calls of CuPy is there, as it is called: read from the installed wheel.

The modules of CuPy that call cuBLAS cannot be imported without CUDA's libraries; their sources can be read.
"""

import ast
import importlib.util
from pathlib import Path

import pytest

CALLS = {
    ("cupy", "cublas.py", "gemm"): (4, {"out", "alpha", "beta"}),
    ("cupyx", "scipy/linalg/_solve_triangular.py", "solve_triangular"): (2, {"lower"}),
    ("cupyx", "_pinned_array.py", "empty_pinned"): (2, set()),
}


@pytest.mark.parametrize(("package", "file", "function"), CALLS)
def test_a_function_takes_what_it_is_given(package: str, file: str, function: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip("CuPy is not installed")
    tree = ast.parse((Path(found.submodule_search_locations[0]) / file).read_text("utf-8"))
    [definition] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    positional, named = CALLS[package, file, function]
    names = [argument.arg for argument in definition.args.args]
    assert positional <= len(names)
    assert named <= {*names, *(argument.arg for argument in definition.args.kwonlyargs)}


def test_the_memory_pool_takes_a_limit() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert "size=None" in cupy.get_default_memory_pool().set_limit.__doc__.splitlines()[0]
    assert "out=None" in cupy.ndarray.get.__doc__.splitlines()[0]
    assert callable(cupy.get_default_memory_pool().free_bytes)
    assert callable(cupy.cuda.runtime.memGetInfo)


def test_a_gpu_without_memory_raises_what_is_told_in_one_line() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)  # see pipeline.runtime.device.no_memory
