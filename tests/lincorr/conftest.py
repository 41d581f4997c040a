"""Arrays of every kind that the solvers may be given."""

import array_api_strict
import numpy as np
import pytest

from lincorr.arrays import to_device
from tests.lincorr.solvers.problems import Put

PUTS: dict[str, Put] = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    # another device: what slips back to the host, or to the default device, raises
    "device": lambda x: array_api_strict.asarray(x, device=array_api_strict.Device("device1")),
}


@pytest.fixture(params=[*PUTS, pytest.param("cupy", marks=pytest.mark.gpu)])
def put(request: pytest.FixtureRequest) -> Put:
    if request.param != "cupy":
        return PUTS[request.param]
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        cupy.zeros(1)
    except Exception as problem:
        pytest.skip(f"CuPy finds no GPU ({type(problem).__name__})")
    return lambda x: to_device(np.asarray(x), "cuda")
