"""`lincorr plan`: what a run would do here, or on N GPUs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from lincorr.errors import BadInput
from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, fact_table, plain_table, print_json, say, show_table
from pipeline.cli.settings import job, settings_of
from pipeline.config import RunConfig
from pipeline.plan.estimate import Estimate, estimate
from pipeline.plan.gpus import find_device
from pipeline.plan.plan import Plan
from pipeline.plan.workload import workload
from pipeline.prepare.prepare import Inputs

_MOST_GPUS = 1_000_000


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
    if max(numbers) > _MOST_GPUS:
        raise BadInput(
            f"--gpus: {max(numbers):,} are more than there are anywhere; write {_MOST_GPUS:,} or fewer"
        )
    return numbers


def estimate_document(found: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON values."""
    return asdict(found) | {"seconds": found.seconds}


def print_estimates(found: Sequence[Estimate]) -> None:
    """Print a table for each, and the notes of all, each once."""
    for one in found:
        show_table(_table(one))
    for note in dict.fromkeys(note for one in found for note in one.notes):
        say(note, wrap=True)


def _table(found: Estimate) -> Table:
    figures = ("time", "to store", "scratch", "network", "a GPU", "a process")
    table = plain_table(f"Estimate: {found.gpus} x {found.device}", ["stage", "on"], figures)
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


@with_settings
def plan(
    config: str | None,
    overrides: dict[str, str],
    *,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", help="Estimate a run on so many GPUs, as 8 or 8,64, from config.json alone."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Which GPU: a100, h100 or h200. Default: h100.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a run would do: shards, bytes, operations, solvers and time. Writes nothing."""
    if gpus is not None or gpu is not None:
        settings = settings_of(config, overrides)
        _estimate(settings, "1" if gpus is None else gpus, "h100" if gpu is None else gpu, as_json)
        return
    planner = job(config, overrides, as_json)
    planned = planner.plan()
    if as_json:
        print_json(plan_document(planned))
    else:
        print_plan(planned, planner.inputs)


def _estimate(config: "RunConfig", gpus: str, gpu: str, as_json: bool) -> None:
    found = estimates(config, gpus, gpu)
    if as_json:
        print_json([estimate_document(one) for one in found])
    else:
        print_estimates(found)


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values."""
    work = plan.work
    document: dict[str, Any] = {
        "store": plan.store,
        "exists": plan.exists,
        "n_subjects": work.n_subjects,
        "n_fit": work.n_fit,
        "n_test": plan.n_test,
        "n_shards": work.n_shards,
        "prompts_needed": plan.prompts_needed,
        "prompts_kept": plan.prompts_kept,
        "asked_needed": plan.asked_needed,
        "asked_tokens": plan.asked_tokens,
        "tokens": plan.tokens,
        "bytes_to_write": plan.bytes_to_write,
        "flops": plan.flops,
        "flops_per_second": plan.flops_per_second,
        "start_seconds": plan.start_seconds,
        "seconds": plan.seconds,
        "fit_seconds": plan.fit_seconds,
        "scratch_bytes": plan.scratch_bytes,
    }
    document["choices"] = {
        f"{relation}/{basis}": asdict(choice) for (relation, basis), choice in plan.choices.items()
    }
    return document


def print_plan(plan: Plan, inputs: Inputs) -> None:
    """Print what a run would do."""
    subjects = inputs.subjects
    table = fact_table("Plan")
    exists = "there already" if plan.exists else "new"
    rows = {
        "store": f"{plan.store} ({exists})",
        "subjects": f"{plan.work.n_subjects:,}: {plan.work.n_fit:,} to fit, {plan.n_test:,} to test",
        "classes": ", ".join(f"{n:,} {c}" for c, n in subjects.class_counts().items()),
        "left out": ", ".join(f"{n:,} {c}" for c, n in subjects.left_out.items()) or "none",
        "templates": "\n".join(f"{t.name}: {t.text!r}" for t in inputs.templates.values()),
        "columns": "\n".join(
            f"{r.name}: {len(r.source):,} of {len(r.source) + len(r.source.dropped):,} source answers, "
            f"{len(r.target):,} of {len(r.target) + len(r.target.dropped):,} target answers, "
            f"{len(r.truth):,} sources with a known target"
            for r in inputs.relations
        ),
        "shards": f"{plan.work.n_shards:,}",
        "prompts": f"{plan.prompts_needed:,} to run, {plan.prompts_kept:,} stored ({plan.tokens:,} tokens)",
        "asked outright": f"{plan.asked_needed:,} prompts to run ({plan.asked_tokens:,} tokens)",
        "to write": f"{plan.bytes_to_write / 2**20:,.1f} MiB, and {plan.scratch_bytes / 2**20:,.1f} MiB of "
        "scratch while fits run",
        "operations": f"{plan.flops:.3g} at {plan.flops_per_second / 1e9:,.0f} GFLOP/s",
        "estimated time": f"{plan.start_seconds:,.0f} s to start, {plan.seconds:,.0f} s of extraction, "
        f"{plan.fit_seconds:,.0f} s of fits",
        "solvers": "\n".join(
            f"{relation}/{basis}: {choice.method} ({choice.reason})"
            for (relation, basis), choice in plan.choices.items()
        ),
    }
    if notes := (*inputs.notes, *plan.notes):
        rows["note"] = "\n".join(notes)
    for key, value in rows.items():
        table.add_row(key, value)
    show_table(table)
