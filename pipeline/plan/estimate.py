"""What a run would take on N GPUs, stage by stage. The formulas are explained in docs/scaling.md.

Nothing is measured: rates come from data sheets (`pipeline.plan.gpus`), and what they do not say is a
constant of `pipeline.plan.costs`.
"""

from dataclasses import dataclass

from lincorr.errors import BadInput
from pipeline.plan.costs import (
    CUDA_CONTEXT_BYTES,
    DECOMPOSITION_EFFICIENCY,
    FIT_EFFICIENCY,
    MESSAGE_BYTES,
    SORT_RATE,
    STORAGE_RATE,
    TORCH_LIBRARY_BYTES,
    WORKER_RATE,
    WORTH_WORKERS_SECONDS,
    Cost,
    evaluation_cost,
    fit_cost,
    relation_bytes,
)
from pipeline.plan.gpus import Device
from pipeline.plan.memory import evaluation_host_bytes
from pipeline.plan.start import Start
from pipeline.plan.workload import Workload, dtype_bytes
from pipeline.runtime.executor import TASKS_AT_ONCE

_SHARDS_A_WORKER = 4  # enough that a worker hardly waits for the last
_MOST_GPUS = 64  # of a worker
_LONG = 60.0  # seconds that are worth a remark


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a run.

    Attributes:
        name: load, extract, ask, fit or evaluate.
        where: what works.
        seconds: how long.
        store_bytes: written to the store, and
        scratch_bytes: beside it while it runs.
        network_bytes: between processes and the locations of model and store, and through the scheduler.
        gpu_bytes: memory of one GPU.
        host_bytes: memory of one process.
    """

    name: str
    where: str
    seconds: float
    store_bytes: int = 0
    scratch_bytes: int = 0
    network_bytes: int = 0
    gpu_bytes: int = 0
    host_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run on N GPUs of one kind, and plain sentences on what limits it."""

    device: str
    gpus: int
    stages: tuple[StageEstimate, ...]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time of all stages."""
        return sum(stage.seconds for stage in self.stages)


def estimate(work: Workload, device: Device, gpus: int) -> Estimate:
    """Estimate a run on so many GPUs.

    Raises:
        BadInput: the model does not fit into the GPUs of a worker, or there are fewer.
    """
    each = work.gpus_per_worker
    if gpus < each:
        raise BadInput(f"cluster.gpus_per_worker: {each} are more than the {gpus} of --gpus; set it lower")
    needed = gpu_bytes(work)
    if needed > device.memory_bytes:
        enough = (n for n in range(each + 1, _MOST_GPUS + 1) if gpu_bytes(work, n) <= device.memory_bytes)
        least = next(enough, None)
        raise BadInput(
            f"model: {needed / 1e9:.0f} GB of weights and activations{', each,' if each > 1 else ''} do not "
            f"fit into one {device.name} ({device.memory_bytes / 1e9:.0f} GB); "
            + (f"set cluster.gpus_per_worker to {least}" if least else "take a smaller model")
        )
    stages = (
        _load(work, device, gpus),
        _extract(work, device, gpus),
        *([_ask(work, device, gpus)] if work.asked else []),
        _fit(work, device, gpus),
        _evaluate(work, device, gpus),
    )
    return Estimate(device.name, gpus, stages, tuple(_notes(work, device, gpus, stages)))


def gpu_bytes(work: Workload, gpus_per_worker: int | None = None) -> int:
    """Return the memory of one GPU: weights, head columns in float32, and the activations of two passes.

    Of several GPUs that share the weights, the last also has the head columns.
    """
    sizes = work.sizes
    width = 8 * sizes.width + 3 * sizes.inner_width  # residual, norms, q, k, v; gate, up and their product
    activations = 2 * work.batch_tokens * width * dtype_bytes(work.dtype)
    heads = 4 * sizes.width * sum(work.columns.values())
    share = work.weight_bytes // (gpus_per_worker or work.gpus_per_worker)
    return share + heads + activations + CUDA_CONTEXT_BYTES


def extract_seconds(work: Workload, device: Device, rows: int) -> float:
    """Return the time of a worker for so many subjects: of products, or of reading the weights if longer.

    Several GPUs of a worker count as one: each has its layers, and waits for the others.
    """
    passes = rows * work.own_tokens / work.batch_tokens
    return _model_seconds(work, device, rows * work.subject_flops, passes)


def _model_seconds(work: Workload, device: Device, flops: float, passes: float) -> float:
    products = flops / (device.efficiency * device.peak(work.dtype))
    return max(products, passes * work.weight_bytes / device.memory_bandwidth)


def host_seconds(cost: Cost, peak: float) -> float:
    """Return the time of a piece of work on a host's cores, without reading."""
    return (
        cost.products / (FIT_EFFICIENCY * peak)
        + cost.decompositions / (DECOMPOSITION_EFFICIENCY * peak)
        + cost.sorted_values / SORT_RATE
    )


def _load(work: Workload, device: Device, gpus: int) -> StageEstimate:
    hosts = _hosts(device, gpus)
    read = hosts * work.file_bytes  # once a host: its workers share what the system has cached
    start = Start("spawned", several=gpus > work.gpus_per_worker, is_new=True)
    rate = device.efficiency * device.peak(work.dtype)
    copying = work.weight_bytes / device.host_link
    return StageEstimate(
        "load",
        _gpus(gpus),
        start.seconds(work, rate, reading=_transfer(read, hosts), copying=copying),
        network_bytes=read,
        gpu_bytes=work.weight_bytes // work.gpus_per_worker + CUDA_CONTEXT_BYTES,
        host_bytes=TORCH_LIBRARY_BYTES + work.weight_bytes,
    )


def _extract(work: Workload, device: Device, gpus: int) -> StageEstimate:
    workers = gpus // work.gpus_per_worker
    busy = min(workers, work.n_shards) * work.gpus_per_worker
    rows = min(
        -(-work.n_shards // workers) * work.shard_rows, work.n_stored
    )  # of the one with the most shards
    copied = 4 * rows * work.row_width / device.host_link  # beside the next pass
    written = work.data_bytes + work.head_bytes
    messages = MESSAGE_BYTES * work.n_shards
    return StageEstimate(
        "extract",
        _gpus(busy),
        max(extract_seconds(work, device, rows), copied, _transfer(written, _hosts(device, busy))),
        store_bytes=written,
        network_bytes=written + messages,
        gpu_bytes=gpu_bytes(work),
        host_bytes=TORCH_LIBRARY_BYTES
        + TASKS_AT_ONCE * 4 * min(work.shard_rows, work.n_stored) * work.row_width,
    )


def _ask(work: Workload, device: Device, gpus: int) -> StageEstimate:
    workers = gpus // work.gpus_per_worker
    tasks = sum(asked.n_tasks for asked in work.asked)
    busy = min(workers, tasks) * work.gpus_per_worker
    share = -(-tasks // workers) / tasks  # of the worker with the most tasks
    flops = sum(work.asked_flops(asked) for asked in work.asked)
    # a pass has the prompts of one question or task at most
    passes = sum(
        max(asked.tokens / work.batch_tokens, asked.n_trees / len(asked.sources)) for asked in work.asked
    )
    return StageEstimate(
        "ask",
        _gpus(busy),
        max(
            _model_seconds(work, device, share * flops, share * passes),
            _transfer(work.asked_bytes, _hosts(device, busy)),
        ),
        store_bytes=work.asked_bytes,
        network_bytes=work.asked_bytes + MESSAGE_BYTES * tasks,
        gpu_bytes=gpu_bytes(work),
        host_bytes=TORCH_LIBRARY_BYTES + max(asked.answer_bytes for asked in work.asked),
    )


def _fit(work: Workload, device: Device, gpus: int) -> StageEstimate:
    seconds, read, written, scratch, most = 0.0, 0.0, 0, 0, 0
    in_memory = [fit_cost(*fit) for fit in work.fits.values() if not fit[1].out_of_core]
    sharing = busiest = _sharing(work, device, gpus, sum(in_memory, Cost()))
    for sizes, choice in work.fits.values():
        cost = fit_cost(sizes, choice)
        workers = gpus if choice.out_of_core else sharing
        busiest = max(busiest, workers)
        seconds += host_seconds(cost, workers * device.host_fp64)
        seconds += _transfer(cost.read_bytes + 2 * choice.scratch_bytes, _hosts(device, workers))
        read += cost.read_bytes + 2 * choice.scratch_bytes  # written, and read at least once
        scratch = max(scratch, choice.scratch_bytes)
        most = max(most, choice.worker_bytes)
        written += map_bytes(sizes.p, sizes.q, sizes.d, choice.method)
    return StageEstimate(
        "fit",
        _host_cores(device, busiest),
        seconds,
        store_bytes=written,
        scratch_bytes=scratch,
        network_bytes=round(read) + written,
        host_bytes=TORCH_LIBRARY_BYTES + most,
    )


def map_bytes(p: int, q: int, d: int, method: str) -> int:
    """Return what the maps of a source take in a store: weights, intercepts and token ids."""
    if method == "factored":  # two matrices and two vectors of the hidden states' width
        return 2 * 8 * (2 * d * d + 2 * d + p + q)
    return (1 if method == "tiled" else 2) * 8 * (p * q + q + p + q)


def _evaluate(work: Workload, device: Device, gpus: int) -> StageEstimate:
    total, held = Cost(), 0
    for (_, basis), (sizes, choice) in work.fits.items():
        checked = Cost(read_bytes=relation_bytes(sizes) if basis == "domain" else 0)
        total += evaluation_cost(sizes, choice) + checked
        held = max(held, evaluation_host_bytes(sizes, choice))
    workers = _sharing(work, device, gpus, total)
    return StageEstimate(
        "evaluate",
        _host_cores(device, workers),
        host_seconds(total, workers * device.host_fp64)
        + _transfer(total.read_bytes, _hosts(device, workers)),
        network_bytes=round(total.read_bytes),
        host_bytes=TORCH_LIBRARY_BYTES + held,
    )


def _hosts(device: Device, gpus: int) -> int:
    return -(-gpus // device.gpus_per_host)


def _sharing(work: Workload, device: Device, gpus: int, cost: Cost) -> int:
    """Return how many GPUs' shares of host cores work in memory: one host's, or many if that takes long."""
    alone = min(gpus, device.gpus_per_host)
    if work.n_sources < 2 or host_seconds(cost, alone * device.host_fp64) < WORTH_WORKERS_SECONDS:
        return alone
    relations = len({relation for relation, _ in work.fits})
    return min(gpus, relations * work.gpus_per_worker)


def _host_cores(device: Device, workers: int) -> str:
    hosts = _hosts(device, workers)
    return f"{hosts} host{'s' if hosts > 1 else ''}"


def _gpus(number: int) -> str:
    return f"{number} GPU{'s' if number > 1 else ''}"


def _transfer(n_bytes: float, hosts: int) -> float:
    """Return the time to bring bytes to or from the location of the store, shared evenly by so many hosts."""
    return n_bytes / min(hosts * WORKER_RATE, STORAGE_RATE)


def _notes(work: Workload, device: Device, gpus: int, stages: tuple[StageEstimate, ...]) -> list[str]:
    notes = [
        f"Rates are those of data sheets; {device.efficiency:.0%} of a GPU's peak in extraction is assumed, "
        "as are the other shares that docs/scaling.md names."
    ]
    if not work.tokenized:
        notes.append(
            "Without a tokenizer, words stand for tokens and every answer for a column: the domain's fits "
            "come out too long, since most names are more than one token."
        )
    workers = gpus // work.gpus_per_worker
    if workers > 1 and work.n_shards < _SHARDS_A_WORKER * workers:
        better = max(1, work.n_stored // (_SHARDS_A_WORKER * workers))
        whom = f"{gpus} GPUs" if workers == gpus else f"{workers} workers of {work.gpus_per_worker} GPUs"
        notes.append(
            f"{work.n_shards:,} shard{'s' if work.n_shards > 1 else ''} for {whom}: some are idle at times; "
            f"in a new store set store.shard_rows to {better:,}{' or less' if better > 1 else ''}."
        )
    seconds = {stage.name: stage.seconds for stage in stages}
    on_gpus = seconds["extract"] + seconds.get("ask", 0.0)
    if seconds["fit"] + seconds["evaluate"] > max(_LONG, on_gpus):
        notes.append(
            "Fits and evaluation take longer than extraction, and compute in float64 on host cores (a GPU "
            f"has {device.fp64 / device.host_fp64:.0f} times the peak of its share of them, unused): let the "
            "GPUs go after `lincorr extract`, and run `lincorr fit` and `lincorr evaluate` without them."
        )
    return notes
