"""What GPUs can do, as their makers say: for estimates before there is any.

Peaks are without sparsity; memory and links are in bytes and bytes a second, one way. A GPU's share of its
host is that of the maker's own server: cores x clock x operations a cycle, divided by its GPUs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lincorr.errors import BadInput
from pipeline.plan.costs import GPU_EFFICIENCY


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU and its share of the host that it is in.

    Attributes:
        name: as shown.
        bf16, fp32, fp64: peak operations a second; bf16 on tensor cores, as is fp16.
        memory_bytes: of the GPU.
        memory_bandwidth: bytes a second between its memory and its cores.
        host_link: bytes a second between host and GPU.
        gpus_per_host: of the maker's server.
        host_fp64: peak operations a second of a GPU's share of the host's cores, float64.
        host_bytes: a GPU's share of the host's memory.
        efficiency: share of the peak that extraction reaches.
    """

    name: str
    bf16: float
    fp32: float
    fp64: float
    memory_bytes: int
    memory_bandwidth: float
    host_link: float
    gpus_per_host: int
    host_fp64: float
    host_bytes: int
    efficiency: float

    def peak(self, dtype: str) -> float:
        """Return the operations a second in a precision of weights."""
        return self.fp32 if dtype == "float32" else self.bf16


# NVIDIA H100 and H200 Tensor Core GPU data sheets, SXM; half of the figures "with sparsity"
_HOPPER: dict[str, Any] = {
    "bf16": 989e12,
    "fp32": 67e12,
    "fp64": 34e12,  # 67e12 on tensor cores
    "host_link": 64e9,  # PCIe 5.0 x16: "128 GB/s", both ways together
    "gpus_per_host": 8,
    # DGX H100 and H200 data sheets: two Xeon Platinum 8480C, 112 cores in all, 2.0 GHz base, 2 TB;
    # two AVX-512 units a core multiply and add 8 numbers each: 32 a cycle
    "host_fp64": 112 * 2.0e9 * 32 / 8,
    "host_bytes": 2 * 10**12 // 8,
    "efficiency": GPU_EFFICIENCY,
}

DEVICES: Mapping[str, Device] = {
    "a100": Device(
        name="A100 80 GB SXM",  # NVIDIA A100 Tensor Core GPU data sheet
        bf16=312e12,
        fp32=19.5e12,
        fp64=9.7e12,  # 19.5e12 on tensor cores
        memory_bytes=80 * 10**9,
        memory_bandwidth=2.039e12,
        host_link=32e9,  # PCIe 4.0 x16: "64 GB/s", both ways together
        gpus_per_host=8,
        # DGX A100 data sheet: two EPYC 7742, 128 cores in all, 2.25 GHz base, 2 TB; AVX2: 16 a cycle
        host_fp64=128 * 2.25e9 * 16 / 8,
        host_bytes=2 * 10**12 // 8,
        efficiency=GPU_EFFICIENCY,
    ),
    "h100": Device(name="H100 SXM", memory_bytes=80 * 10**9, memory_bandwidth=3.35e12, **_HOPPER),
    "h200": Device(name="H200 SXM", memory_bytes=141 * 10**9, memory_bandwidth=4.8e12, **_HOPPER),
}


def find_device(name: str) -> Device:
    """Return a device by its short name.

    Raises:
        BadInput: it is not in the table.
    """
    found = DEVICES.get(name.lower())
    if found is None:
        raise BadInput(f"--gpu: {name!r} is not in the table; choose from {', '.join(DEVICES)}")
    return found
