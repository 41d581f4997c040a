"""Whether CuPy has a GPU, and why not: modules that fail as the real one does."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lincorr import arrays
from lincorr.arrays import gpu_fault, has_gpu
from lincorr.errors import LincorrError
from pipeline.runtime.device import array_device, own_device


class CUDARuntimeError(RuntimeError):
    """What CuPy raises."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Cupy:
    """A CuPy that sees GPUs, or raises one thing when asked for them and another one when it computes."""

    def __init__(self, counting: Exception | int, computing: Exception | None = None) -> None:
        self.counting, self.computing = counting, computing
        self.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=self.count))
        self.linalg = np.linalg

    def count(self) -> int:
        if isinstance(self.counting, Exception):
            raise self.counting
        return self.counting

    def eye(self, n: int) -> Any:
        if self.computing is not None:
            raise self.computing
        return np.eye(n)


NO_DRIVER = CUDARuntimeError(35, "cudaErrorInsufficientDriver: CUDA driver version is insufficient")


@pytest.mark.parametrize(
    ("cupy", "driver", "sees", "fault"),
    [
        (Cupy(1), True, True, None),
        (Cupy(0), True, False, None),
        (Cupy(CUDARuntimeError(100, "cudaErrorNoDevice")), True, False, None),
        (Cupy(NO_DRIVER), False, False, None),  # a machine without a GPU
        (Cupy(NO_DRIVER), True, False, "CUDARuntimeError: cudaErrorInsufficientDriver"),  # too old a driver
        (Cupy(CUDARuntimeError(999, "cudaErrorUnknown")), True, False, "CUDARuntimeError: cudaErrorUnknown"),
        (
            Cupy(1, ImportError("libcusolver.so.12: cannot open\nmore")),
            True,
            False,
            "ImportError: libcusolver",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_told_from_none(
    cupy: Cupy, driver: bool, sees: bool, fault: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(arrays, "_DRIVER", tmp_path if driver else tmp_path / "nvidia")
    assert has_gpu() == sees
    found = gpu_fault()
    assert found is None if fault is None else str(found).startswith(fault)


@pytest.mark.parametrize(
    ("problem", "fault"),
    [
        (ModuleNotFoundError("No module named 'cupy'", name="cupy"), None),
        (
            ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"),
            "ModuleNotFoundError: No module",
        ),
        (ImportError("libnvrtc.so.13: cannot open shared object file"), "ImportError: libnvrtc.so.13"),
    ],
)
def test_a_cupy_that_cannot_be_imported_is_told_from_none(
    problem: Exception, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def import_(name: str, *args: Any) -> Any:
        if name == "cupy":
            raise problem
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", import_)
    found = gpu_fault()
    assert found is None if fault is None else str(found).startswith(fault)


def test_a_fault_is_said_where_fits_go_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Cupy(1, ImportError("libcublas.so.13: cannot open shared object file"))
    monkeypatch.setitem(sys.modules, "cupy", broken)
    said: list[str] = []
    assert own_device("auto", 1, said.append) == "cpu"
    assert len(said) == 1
    assert "cannot use the GPU of" in said[0]
    assert "libcublas.so.13" in said[0]
    assert array_device("auto") == array_device("auto") == "cpu"
    assert capsys.readouterr().err == said[0] + "\n"  # a worker's log, once
    with pytest.raises(LincorrError, match=r"cannot use the GPU here \(ImportError: libcublas\.so\.13"):
        array_device("cuda")
    assert own_device("cpu", 1, said.append) == "cpu"
    assert len(said) == 1
