"""Where a process computes its models: device, precision of the weights, and threads."""

import importlib.util
import os
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from lincorr.errors import BadInput
from lincorr.model.checkpoint import weight_files
from lincorr.model.files import ModelSpec, Precision, float32_bytes
from lincorr.model.json_file import read_json
from lincorr.model.quantized import settings_in

# Methods without products on a CPU, where weights are made plain: how many share a stored number.
_MADE_PLAIN = {"fp8": 1, "mxfp8": 1, "mxfp4": 2}

_BUILDS = ("cuda", "hip")  # of torch, by its libraries
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, and Windows' under its Linux


def may_have_gpu() -> bool:
    """Whether torch could find a GPU here, told without importing it, which takes seconds.

    False only where it is built without, or where Linux has no device of a driver.
    """
    found = importlib.util.find_spec("torch")
    folders = (found.submodule_search_locations or []) if found else []
    built = any(any(Path(folder, "lib").glob(f"*torch_{kind}*")) for folder in folders for kind in _BUILDS)
    return built and not (sys.platform == "linux" and not any(map(os.path.exists, _DRIVERS)))


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" if there is a GPU, else "cpu".

    Raises:
        BadInput: a GPU is requested, but there is none, or none of that number.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"model.device: {device!r} is requested, but torch finds no GPU; use cpu")
    if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
        raise BadInput(
            f"model.device: {device!r} is requested, but torch finds {torch.cuda.device_count()} GPUs, "
            "numbered from 0"
        )
    return device


def resolve_dtype(dtype: Precision, device: str) -> Precision:
    """Turn "auto" into float32 on a CPU and bfloat16 on a GPU."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.startswith("cuda") else "float32"


def loaded_bytes(folder: Path, spec: ModelSpec) -> int:
    """Return the bytes of a located model's weights as this machine would load them.

    Raises:
        BadInput: a GPU is requested, but there is none.
    """
    device = resolve_device(spec.device)
    plain = float32_bytes(folder) // (1 if resolve_dtype(spec.dtype, device) == "float32" else 2)
    settings = settings_in(read_json(folder / "config.json"))
    if settings is None:
        return plain
    if device == "cpu" and (packed := _MADE_PLAIN.get(str(settings.get("quant_method")))):
        return packed * plain
    return sum(path.stat().st_size for path in weight_files(folder))  # quantised weights stay as they are


def visible_gpus(device: str) -> int:
    """Return the number of GPUs that this process sees for a model on `device`: 0 for "cpu"."""
    import torch

    return 0 if device == "cpu" else torch.cuda.device_count()


def use_threads(threads: int) -> None:
    """Let this process compute with so many threads, also models that are loaded later.

    It does not import torch: a process that only fits has no use for its 0.2 GB.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch reads them when it is imported
        os.environ[name] = str(threads)
    threadpool_limits(threads, user_api="blas")  # NumPy's and SciPy's, which are loaded already
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def threads_in_use() -> int:
    """Return the number of threads with which this process's models compute."""
    import torch

    return torch.get_num_threads()
