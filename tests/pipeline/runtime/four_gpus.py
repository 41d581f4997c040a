"""Four GPUs that are not there: what dask-cuda asks NVIDIA's libraries for, answered from a list."""

import os
from pathlib import Path

# A device is an index, GPU-<uuid> of a card, or MIG-<uuid> of a part of one.
NVML = """
class NVMLError(Exception): pass
class NVMLError_NotSupported(NVMLError): pass
class NVMLError_NotFound(NVMLError): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_DriverNotLoaded(NVMLError): pass
class NVMLError_Unknown(NVMLError): pass

CARDS = [f"GPU-{i}" for i in range(4)]
PARTS = {"MIG-a": "GPU-0", "MIG-b": "GPU-0", "MIG-c": "GPU-1"}

def nvmlInit(): pass
def nvmlSystemGetDriverVersion(): return "0"
def nvmlDeviceGetCount(): return len(CARDS)
def nvmlDeviceGetUUID(handle): return handle
def nvmlDeviceGetIndex(handle): return CARDS.index(handle)
def nvmlDeviceIsMigDeviceHandle(handle): return handle in PARTS
def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle): return PARTS[handle]
def nvmlDeviceGetMigMode(handle): raise NVMLError_NotSupported
def nvmlDeviceGetComputeRunningProcesses(handle): return []
nvmlDeviceGetComputeRunningProcesses_v2 = nvmlDeviceGetComputeRunningProcesses

def nvmlDeviceGetHandleByIndex(index):
    if not 0 <= int(index) < len(CARDS):
        raise NVMLError(f"no card {index}")
    return CARDS[int(index)]

def nvmlDeviceGetHandleByUUID(uuid):
    uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
    if uuid not in CARDS and uuid not in PARTS:
        raise NVMLError(f"no device {uuid}")
    return uuid

def nvmlDeviceGetCpuAffinity(handle, words): return [2 ** 64 - 1] * words

class _Memory:
    total, used, free = 80 * 2 ** 30, 0, 80 * 2 ** 30

def nvmlDeviceGetMemoryInfo(handle): return _Memory
"""

CUDA = """
class Device:
    def __init__(self, device_id=None): pass
    def set_current(self): pass
"""


def environment(folder: Path, visible: str | None) -> dict[str, str]:
    """Return this environment with four GPUs, of which some are visible; None: the variable is not set."""
    (folder / "cuda" / "core").mkdir(parents=True)
    (folder / "pynvml.py").write_text(NVML)
    (folder / "cuda" / "core" / "__init__.py").write_text(CUDA)
    paths = [str(folder), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    variables = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    variables["DASK_DISTRIBUTED__DIAGNOSTICS__NVML"] = "False"
    return variables | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
