"""What a run will do here, before it does it: a workload, less what the store has already."""

import functools
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.trees import merge_prompts
from lincorr.solvers.choose import Choice
from lincorr.store.locations import is_remote
from lincorr.store.place import require_place
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.plan.costs import CPU_EFFICIENCY, CPU_FIT_EFFICIENCY, WORKER_RATE
from pipeline.plan.fits import Basis
from pipeline.plan.memory import memory_note
from pipeline.plan.start import Start, start_here
from pipeline.plan.workload import Workload, workload_here
from pipeline.prepare.asked import AskedInputs
from pipeline.prepare.prepare import Inputs


@dataclass(frozen=True, slots=True)
class Plan:
    """A workload, what of it is still to be done, and this machine's rate.

    Attributes:
        work: the run in numbers.
        store: URL, and
        exists: whether there is one already.
        prompts_needed: forward passes of one prompt that are still to be made.
        prompts_kept: those that the store has.
        whole: template -> shard -> rows that are stored, whole and right, of the shards that the run has.
        tokens: of the merged prompts that are needed, estimated from a sample.
        asked: what the model is to be asked outright as well, about the sources of relations.
        bytes_to_write: to the store.
        start: how the run begins.
        notes: plain sentences on what was assumed.
    """

    work: Workload
    store: str
    exists: bool
    prompts_needed: int
    prompts_kept: int
    whole: Mapping[str, Mapping[int, int]]
    tokens: int
    asked: tuple[AskedInputs, ...]
    bytes_to_write: int
    start: Start
    notes: tuple[str, ...] = ()

    @property
    def choices(self) -> dict[tuple[str, Basis], Choice]:
        """(relation, basis) -> solver, reason and cost."""
        return self.work.choices

    @property
    def n_test(self) -> int:
        """Subjects that are held out."""
        return self.work.n_subjects - self.work.n_fit

    @property
    def asked_needed(self) -> int:
        """Prompts that ask the model outright."""
        return sum(asked.n_prompts for asked in self.asked)

    @property
    def asked_tokens(self) -> int:
        """Of these prompts, roughly."""
        return sum(asked.tokens for asked in self.asked)

    @property
    def flops(self) -> float:
        """Operations of extraction: of subjects without attention and output head, and of asking outright."""
        # counting parameters imports the model's code: seconds, of which a run has no use
        subjects = 2.0 * self.work.sizes.multiplied * self.tokens if self.tokens else 0.0
        return subjects + sum(self.work.asked_flops(asked) for asked in self.asked)

    @property
    def flops_per_second(self) -> float:
        """Of float32 matrix products, measured on this machine: not in a run, which imports meanwhile."""
        return measured_flops()

    @property
    def seconds(self) -> float:
        """Estimated time of extraction."""
        return self.flops / (CPU_EFFICIENCY * self.flops_per_second)

    @property
    def start_seconds(self) -> float:
        """Estimated time until forward passes begin; 0 where there are none."""
        if not (self.tokens or self.asked):
            return 0.0
        rate, reading = CPU_EFFICIENCY * self.flops_per_second, self.work.file_bytes / WORKER_RATE
        return self.start.seconds(self.work, rate, reading=reading)

    @property
    def fit_seconds(self) -> float:
        """Estimated time of all fits."""
        rate = CPU_FIT_EFFICIENCY * self.flops_per_second
        return sum(choice.seconds(rate) for choice in self.choices.values())

    @property
    def scratch_bytes(self) -> int:
        """The most that a fit writes beside the store while it runs."""
        return max((choice.scratch_bytes for choice in self.choices.values()), default=0)

    def check(self) -> None:
        """Refuse a run whose data does not fit on the disk.

        Raises:
            BadInput: the store's disk does not have enough room.
        """
        if is_remote(self.store):
            return
        folder = Path(self.store).absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if self.bytes_to_write + self.scratch_bytes > free:
            scratch = self.scratch_bytes / 2**30
            needed = self.bytes_to_write / 2**30 + scratch
            raise BadInput(
                f"store: {self.store!r} needs {needed:.2f} GiB more ({scratch:.2f} while fits run), its disk "
                f"has {free / 2**30:.2f} GiB free; ask for fewer subjects or name another place"
            )


def make_plan(config: RunConfig, inputs: Inputs) -> Plan:
    """Plan a run; read the store if there is one, write nothing.

    Raises:
        BadInput: a subject list that cannot be split, a place where no store can be, a template that the
            store has otherwise, or a problem that no solver can take.
    """
    url = config.store_url()
    store = LogitStore.open(url) if LogitStore.exists(url) else None
    if store is None:
        require_place(url)
    else:
        for name, template in inputs.templates.items():
            store.check_template(template, inputs.columns[name].ids)
            store.check_prompt(name, inputs.prompts[name])
    work = workload_here(config, inputs, store)
    whole = _whole_rows(store, inputs) if store else {}
    stored = dict.fromkeys(inputs.templates, 0) | (_rows_stored(store, inputs, whole) if store else {})
    missing = {name: work.n_stored - rows for name, rows in stored.items()}
    to_write = sum(rows * work.template_width(name) for name, rows in missing.items()) * work.itemsize
    if not (store and store.head.exists()):
        to_write += work.head_bytes
    to_ask = asked_to_do(store, inputs)
    to_write += sum(asked.answer_bytes for asked in to_ask)
    note = memory_note(config.fit, config.cluster)
    return Plan(
        work=work,
        store=url,
        exists=store is not None,
        prompts_needed=sum(missing.values()),
        prompts_kept=sum(stored.values()),
        whole=whole,
        tokens=_tokens(inputs, missing),
        asked=to_ask,
        bytes_to_write=to_write,
        start=start_here(config.cluster, config.model.device, is_new=store is None, is_remote=is_remote(url)),
        notes=(note,) if note else (),
    )


def asked_to_do(store: LogitStore | None, inputs: Inputs) -> tuple[AskedInputs, ...]:
    """Return what the model is asked outright and the store has no answers to, or no undamaged ones."""
    if store is None:
        return inputs.asked
    return tuple(one for one in inputs.asked if not store.asked.is_whole(one.name, one.digest))


@functools.cache
def measured_flops() -> float:
    """Return this machine's float32 matrix-product rate, in operations a second."""
    n = 1024
    a = np.ones((n, n), np.float32)
    a @ a  # the first product starts the threads
    began = time.perf_counter()
    repeats = 4
    for _ in range(repeats):
        a @ a
    return repeats * 2 * n**3 / (time.perf_counter() - began)


def _whole_rows(store: LogitStore, inputs: Inputs) -> dict[str, dict[int, int]]:
    """Return stored template -> shard of the run's subjects -> rows that are whole and right."""
    shards = np.unique(_rows(store, inputs) // store.identity.shard_rows).tolist()
    known = {template.name for template in store.templates()}
    return {name: store.shards.whole_rows_of(name, shards) for name in inputs.templates if name in known}


def _rows_stored(store: LogitStore, inputs: Inputs, whole: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
    """Count the run's distinct subjects whose answer to each of these templates is there, whole and right."""
    rows, size = _rows(store, inputs), store.identity.shard_rows
    shards, position = np.unique(rows // size, return_inverse=True)
    counts = {}
    for name, of_shard in whole.items():
        limits = np.array([of_shard[shard] for shard in shards.tolist()], dtype=np.int64)
        counts[name] = int((rows % size < limits[position]).sum())
    return counts


def _rows(store: LogitStore, inputs: Inputs) -> NDArray[np.int64]:
    rows = np.unique(store.rows_of(inputs.subjects))
    return rows[rows >= 0]


def _tokens(inputs: Inputs, missing: dict[str, int]) -> int:
    """Estimate the tokens of the missing forward passes, from a sample of merged prompts."""
    asked = [inputs.sample[name] for name, count in missing.items() if count]
    if not asked:
        return 0
    sizes = [len(merge_prompts(of_subject).tokens) for of_subject in zip(*asked, strict=True)]
    return round(max(missing.values()) * sum(sizes) / len(sizes))
