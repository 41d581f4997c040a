"""Estimates for the command line: what --gpus and --gpu ask for, as tables and as JSON values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lincorr.errors import BadInput
from pipeline.config import RunConfig
from pipeline.devices import find_device
from pipeline.estimate import Estimate, estimate
from pipeline.workload import workload


def estimates(config: RunConfig, gpus: str, gpu: str) -> list[Estimate]:
    """Estimate a run for every number of GPUs in a list such as "8,64".

    Raises:
        BadInput: the list or the GPU cannot be understood, or the model does not fit.
    """
    device = find_device(gpu)
    found = []
    for number in _numbers(gpus):
        memory = device.host_bytes * min(number, device.gpus_per_host)
        found.append(estimate(workload(config, host_bytes=memory), device, number))
    return found


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise BadInput(f"--gpus: {text!r} is no number of GPUs; write 8, or 8,64 to compare")
    return numbers


def estimate_document(found: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON values."""
    return asdict(found) | {"seconds": found.seconds}


def print_estimates(found: Sequence[Estimate]) -> None:
    """Print a table for each, and the notes of all, each once."""
    console = Console()
    for one in found:
        console.print(_table(one))
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.print(Text(note))


def _table(found: Estimate) -> Table:
    table = Table(
        title=f"Estimate: {found.gpus} x {found.device}",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("on", no_wrap=True)
    for heading in ("time", "to store", "scratch", "network", "a GPU", "a process"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in found.stages:
        sizes = (
            stage.store_bytes,
            stage.scratch_bytes,
            stage.network_bytes,
            stage.gpu_bytes,
            stage.host_bytes,
        )
        table.add_row(stage.name, stage.where, _time(stage.seconds), *map(_size, sizes))
    table.add_row("in all", "", _time(found.seconds))
    return table


def _time(seconds: float) -> str:
    if seconds < 300:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes else ""
