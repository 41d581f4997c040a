"""Copies between host and device while the device computes."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

Arrival = Callable[[], NDArray[np.float32]]


def upload(array: NDArray[np.int64], device: str) -> torch.Tensor:
    """Copy an array to a device; the host waits for nothing that a GPU has yet to compute."""
    here = torch.from_numpy(np.ascontiguousarray(array))
    return here.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else here.to(device)


class Transfer:
    """Copies tensors to the host, as float32.

    On a GPU a copy goes into pinned memory on a stream of its own, so that the next forward pass need not
    wait for it; calling what `start` returns waits for that copy alone. On a CPU nothing is copied.
    """

    def __init__(self, device: str) -> None:
        self._stream = torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]

    def start(self, tensor: torch.Tensor) -> Arrival:
        """Start to copy a tensor; return a function that waits for the copy and returns it, float32."""
        tensor = tensor.detach().float()
        if self._stream is None:
            array: NDArray[np.float32] = tensor.numpy()
            return lambda: array
        self._stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(self._stream):
            pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            pinned.copy_(tensor, non_blocking=True)
            tensor.record_stream(self._stream)  # its memory may be used again only after the copy
            copied = self._stream.record_event()

        def arrive() -> NDArray[np.float32]:
            copied.synchronize()
            here: NDArray[np.float32] = pinned.numpy()
            return here

        return arrive
