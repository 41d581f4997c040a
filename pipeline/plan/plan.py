"""What a run will do, in integers, before it does it: shards, bytes, operations, solvers, time."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.model.load import load_config
from lincorr.prompts.subjects import split_rows
from lincorr.prompts.trees import merge_prompts
from lincorr.solvers.choose import Choice, choose
from lincorr.store.locations import is_remote
from lincorr.store.shards import DEFAULT_SHARD_ROWS
from lincorr.store.store import LogitStore
from pipeline.config import FitSettings, RunConfig
from pipeline.plan.memory import fit_memory
from pipeline.plan.model_sizes import model_sizes
from pipeline.prepare.prepare import Inputs

_EFFICIENCY = 0.7  # of the machine's float32 matrix product, seen in extraction


_FIT_EFFICIENCY = 0.25  # float64 is half as fast, and decompositions reach about half of that


@dataclass(frozen=True, slots=True)
class Plan:
    """A run in numbers.

    Attributes:
        store: URL, and
        exists: whether there is one already.
        n_subjects, n_fit, n_test: subjects of the run, and their split.
        n_shards: shards that hold them.
        prompts_needed: forward passes of one prompt that are still to be made.
        prompts_kept: those that the store has.
        tokens: of the merged prompts that are needed, estimated from a sample.
        bytes_to_write: to the store.
        flops: of extraction.
        flops_per_second: of float32 matrix products, measured on this machine just now.
        choices: (relation, source) -> solver, reason and cost.
    """

    store: str
    exists: bool
    n_subjects: int
    n_fit: int
    n_test: int
    n_shards: int
    prompts_needed: int
    prompts_kept: int
    tokens: int
    bytes_to_write: int
    flops: float
    flops_per_second: float
    choices: dict[tuple[str, str], Choice]

    @property
    def seconds(self) -> float:
        """Estimated time of extraction."""
        return self.flops / (_EFFICIENCY * self.flops_per_second)

    @property
    def fit_seconds(self) -> float:
        """Estimated time of all fits."""
        rate = _FIT_EFFICIENCY * self.flops_per_second
        return sum(choice.seconds(rate) for choice in self.choices.values())

    @property
    def scratch_bytes(self) -> int:
        """The most that a fit writes beside the store while it runs."""
        return max((choice.scratch_bytes for choice in self.choices.values()), default=0)

    def check(self) -> None:
        """Refuse a run whose data does not fit on the disk.

        Raises:
            BadInput: the store's disk has not enough room.
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
        BadInput: a subject list that cannot be split, a template that the store has otherwise, or a
            problem that no solver can take.
    """
    url = config.store_url()
    store = LogitStore.open(url) if LogitStore.exists(url) else None
    shard_rows = store.identity.shard_rows if store else config.store.shard_rows or DEFAULT_SHARD_ROWS
    hidden = store.identity.hidden if store else _keeps_hidden(config, inputs)
    fit, test = split_rows(inputs.subjects.texts, config.subjects.split, seed=config.subjects.seed)
    distinct = len(set(inputs.subjects.identifiers()))
    kept = to_write = 0
    lacking: dict[str, int] = {}
    for name, template in inputs.templates.items():
        columns = inputs.columns[name]
        if store:
            store.check_template(template, columns.ids)
        have = _rows_kept(store, name, inputs)
        kept += have
        lacking[name] = distinct - have
        width = len(columns) + (inputs.width if hidden else 0)
        to_write += (distinct - have) * width * np.dtype(config.store.precision).itemsize
    if hidden and not (store and store.head.exists()):
        to_write += len(inputs.token_texts) * inputs.width * 4
    tokens = _tokens(inputs, lacking)
    return Plan(
        store=url,
        exists=store is not None,
        n_subjects=len(inputs.subjects),
        n_fit=len(fit),
        n_test=len(test),
        n_shards=-(-distinct // shard_rows),
        prompts_needed=sum(lacking.values()),
        prompts_kept=kept,
        tokens=tokens,
        bytes_to_write=to_write,
        flops=2.0 * _multiplied(config, inputs) * tokens if tokens else 0.0,
        flops_per_second=measured_flops(),
        choices=choices(
            config.fit,
            inputs,
            n_fit=len(fit),
            hidden=hidden,
            linear=store.identity.linear if store else inputs.head_softcap is None,
        ),
    )


def choices(
    settings: FitSettings, inputs: Inputs, *, n_fit: int, hidden: bool, linear: bool
) -> dict[tuple[str, str], Choice]:
    """Choose a solver for every relation, from the domain's columns and from the full vocabulary.

    Without hidden states there is no full-vocabulary fit, unless all logits are kept.
    """
    memory = fit_memory(settings)
    chosen = {}
    for relation in inputs.relations:
        sources = {"domain": len(relation.source)}
        everything = len(inputs.token_texts)
        if hidden or len(inputs.columns[relation.relation.source.template.name]) == everything:
            sources["vocabulary"] = everything
        for source, n_source in sources.items():
            chosen[relation.name, source] = choose(
                n_fit,
                n_source,
                len(relation.target),
                width=inputs.width,
                hidden=hidden,
                linear=linear,
                memory_bytes=memory,
                root_penalty=settings.penalty,
                method=settings.method,
            )
    return chosen


def shards_to_do(
    store: LogitStore, templates: list[str], rows: NDArray[np.int64]
) -> dict[int, tuple[str, ...]]:
    """Return the shards of `rows` that are not whole and right, and the templates each lacks."""
    shards = np.unique(rows // store.identity.shard_rows)
    lacking = {
        int(shard): tuple(name for name in templates if store.shards.fault(name, int(shard)))
        for shard in shards
    }
    return {shard: names for shard, names in lacking.items() if names}


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


def _keeps_hidden(config: RunConfig, inputs: Inputs) -> bool:
    return inputs.head_softcap is None if config.store.hidden is None else config.store.hidden


def _rows_kept(store: LogitStore | None, template: str, inputs: Inputs) -> int:
    """Count the run's distinct subjects whose answer to a template is in the store, whole and right."""
    if store is None or template not in {t.name for t in store.templates()}:
        return 0
    rows = np.unique(store.rows_of(inputs.subjects))
    rows = rows[rows >= 0]
    size = store.identity.shard_rows
    kept = 0
    for shard in np.unique(rows // size):
        mine = rows[rows // size == shard] - shard * size
        kept += int((mine < store.shards.whole_rows(template, int(shard))).sum())
    return kept


def _tokens(inputs: Inputs, lacking: dict[str, int]) -> int:
    """Estimate the tokens of the forward passes that lack, from a sample of merged prompts."""
    asked = [inputs.sample[name] for name, count in lacking.items() if count]
    if not asked:
        return 0
    sizes = [len(merge_prompts(of_subject).tokens) for of_subject in zip(*asked, strict=True)]
    return round(max(lacking.values()) * sum(sizes) / len(sizes))


def _multiplied(config: RunConfig, inputs: Inputs) -> int:
    """Count the parameters that every token is multiplied by."""
    trusted = config.model.trust_remote_code
    return model_sizes(
        load_config(inputs.folder, trust_remote_code=trusted), trust_remote_code=trusted
    ).multiplied
