"""Make every forward pass that a store is missing: the store itself, its subjects, then shard by shard."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from operator import call
from typing import Any, cast
from uuid import uuid4

import numpy as np

from lincorr.errors import BadInput, LincorrError
from lincorr.model.files import ModelSpec, Precision
from lincorr.store.identity import Identity, Passes
from lincorr.store.place import clear_place
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.extract.check import (
    CheckTask,
    HeadTask,
    ModelCheck,
    check_merging,
    check_model,
    check_prompts,
    store_head,
)
from pipeline.extract.shard import ExtractTask, extract_shard
from pipeline.prepare.prepare import Inputs
from pipeline.runtime.console import Narrator
from pipeline.runtime.executor import Executor, Receipt, Stage, idle_share

_WORTH_TELLING = 1.3  # times as fast
# Message shown for each forward-pass strategy.
_HOW: dict[Passes, str] = {
    "trunk": "Prompts that begin alike are merged",
    "trees": "Prompts that begin alike are merged; a constant beginning is computed for every subject",
    "plain": "Prompts that begin alike cannot be merged for this model; extraction is slower",
    "whole": "Hidden states do not lead to this model's logits; every pass computes all of them",
}


def require_identity(store: LogitStore, config: RunConfig, inputs: Inputs) -> None:
    """Refuse a store that was made from other settings or another model.

    Raises:
        BadInput: names the first setting that differs.
    """
    made, model, cluster = store.identity, config.model, config.cluster
    store.require(
        replace(
            made,
            config=inputs.fingerprint.config,
            weights=inputs.fingerprint.weights,
            tokenizer=inputs.fingerprint.tokenizer,
            tokens=made.tokens and inputs.fingerprint.tokens,
            compute=made.compute if model.dtype == "auto" else model.dtype,
            precision=config.store.precision,
            hidden=made.hidden if config.store.hidden is None else config.store.hidden,
            shard_rows=config.store.shard_rows or made.shard_rows,
            batch_tokens=cluster.batch_tokens or made.batch_tokens,
        )
    )


def create_store(executor: Executor, config: RunConfig, inputs: Inputs, narrator: Narrator) -> None:
    """Have workers check the model, then create the store that remembers what they found.

    Raises:
        BadInput: hidden states are asked for, and do not lead to the model's logits.
    """
    task = CheckTask(
        model=config.model_spec(),
        fingerprint=inputs.fingerprint,
        templates={name: template.text for name, template in inputs.templates.items()},
        subjects=inputs.extremes,
        batch_tokens=config.cluster.batch_tokens,
        shard_rows=config.store.shard_rows,
    )
    with narrator.lines("Loading and checking the model", 1, "models"):
        check = _checked(executor, task)
    if config.store.hidden and not check.linear:
        raise BadInput(
            "store.hidden: this model's logits are not a linear function of its hidden states "
            f"(largest difference {check.difference:.3g}); leave it out"
        )
    if not check.linear:
        narrator.tell("Hidden states do not lead to logits in this model; only logits are stored")
    store = LogitStore.create(config.store_url(), _identity(check, config, inputs))
    store.save_device(check.device)
    narrator.tell(f"{_HOW[check.passes]}; {check.batch_tokens:,} tokens a pass")
    if config.model.dtype == "auto" and check.bfloat16_speedup >= _WORTH_TELLING:
        narrator.tell(
            f"Computing in {check.compute}; in bfloat16 this processor multiplies "
            f"{check.bfloat16_speedup:.1f} times as fast, less exactly (model.dtype: bfloat16)"
        )


def _checked(executor: Executor, task: CheckTask) -> ModelCheck:
    """Have two workers check the model at once, then one try the prompts, given what both found."""

    def find_out(*parts: partial[Any]) -> list[Any]:
        return executor.run(Stage("check", call, parts, on_device=True))

    check: ModelCheck
    check, strategies = find_out(partial(check_model, task), partial(check_merging, task))
    if check.passes == "whole":
        return check
    (passes,) = find_out(partial(check_prompts, task, strategies, check))
    return replace(check, passes=passes)


def _identity(check: ModelCheck, config: RunConfig, inputs: Inputs) -> Identity:
    wanted = config.store.hidden
    return Identity(
        source=config.model.spec().described,
        revision=config.model.revision,
        config=inputs.fingerprint.config,
        weights=inputs.fingerprint.weights,
        tokenizer=inputs.fingerprint.tokenizer,
        tokens=inputs.fingerprint.tokens,
        compute=check.compute,
        head=check.head,
        linear=check.linear,
        vocabulary_size=check.vocabulary_size,
        width=check.width,
        precision=config.store.precision,
        hidden=check.linear if wanted is None else wanted,
        shard_rows=check.shard_rows,
        batch_tokens=check.batch_tokens,
        passes=check.passes,
        ends_only=check.ends_only,
        quantization=check.quantization,
    )


@contextmanager
def not_left_empty(store: LogitStore) -> Iterator[None]:
    """Delete a new store again if what is done inside fails before a shard is finished.

    Its identity may be the reason, and would refuse the setting that mends it. Workers must have ended by
    then: a late task would write into what is made in its place.
    """
    try:
        yield
    except LincorrError:
        if not any(store.shards.written(template.name).any() for template in store.templates()):
            clear_place(store.url)
        raise


def register(store: LogitStore, config: RunConfig, inputs: Inputs) -> None:
    """Give the run's subjects and templates their rows and arrays in the store.

    Raises:
        BadInput: the store was made from other settings, or has another template of the same name; nothing
            was changed.
    """
    require_identity(store, config, inputs)
    for name, template in inputs.templates.items():
        store.check_template(template, inputs.columns[name].ids)
        store.check_prompt(name, inputs.prompts[name])
    store.add_subjects(inputs.subjects)
    for name, together in _added_together(store, inputs).items():
        template, prompt = inputs.templates[name], inputs.prompts[name]
        store.add_template(template, inputs.columns[name], together=together, prompt=prompt)
    store.save_settings(config.to_remember())


def _added_together(store: LogitStore, inputs: Inputs) -> dict[str, tuple[str, ...]]:
    """Return the templates that the store lacks, each with those that it is asked with.

    A run that was killed while it added templates has told the first ones of all: the others join them.
    """
    known = [template.name for template in store.templates()]
    new = [name for name in inputs.templates if name not in known]
    groups = map(store.templates_added_with, known) if new else ()
    begun = {name: group for group in groups for name in group}
    others = tuple(name for name in new if name not in begun)
    return {name: begun.get(name, others) for name in new}


def missing_shards(
    store: LogitStore, config: RunConfig, inputs: Inputs, whole: Mapping[str, Mapping[int, int]]
) -> list[ExtractTask]:
    """Return a task for each shard of the run that is not whole and right.

    Args:
        whole: template -> shard -> rows that are, as the plan found them; none of what is not named.
    """
    spec = model_spec(store, config)
    added = {name: store.templates_added_with(name) for name in inputs.templates}
    run = uuid4().hex
    tasks = []
    for shard in np.unique(store.rows_of(inputs.subjects) // store.identity.shard_rows).tolist():
        size = len(range(store.n_subjects)[store.shards.rows(shard)])
        found = {name: whole.get(name, {}).get(shard, 0) for name in inputs.templates}
        missing = {name: size - rows for name, rows in found.items() if rows != size}
        if missing:
            tasks.append(
                ExtractTask(
                    store=store.url,
                    model=spec,
                    fingerprint=inputs.fingerprint,
                    templates=tuple(missing),
                    added=_asked_together(added, tuple(missing)),
                    shard=shard,
                    prompts=sum(missing.values()),
                    run=run,
                )
            )
    return tasks


def _asked_together(
    added: Mapping[str, tuple[str, ...]], missing: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Return the templates added with the missing ones; where a store does not remember, the missing ones."""
    unknown = tuple(name for name in missing if not added[name])
    return tuple(dict.fromkeys(added[name] or unknown for name in missing))


def head_is_missing(store: LogitStore) -> bool:
    """Whether hidden states are stored without the output head that reads them."""
    return store.identity.hidden and not store.head.exists()


def extract_head(executor: Executor, store: LogitStore, config: RunConfig, inputs: Inputs) -> None:
    """Have a worker store the model's output head, unless it is there or not needed."""
    if head_is_missing(store):
        task = HeadTask(model_spec(store, config), inputs.fingerprint, store.url)
        executor.run(Stage("head", store_head, [task], on_device=True))


def extract_shards(
    executor: Executor, store: LogitStore, tasks: Sequence[ExtractTask], narrator: Narrator
) -> tuple[list[Receipt], float]:
    """Run the model on every task's shard; return the receipts and the device's share of idle time."""

    def finished(receipt: Receipt) -> None:
        tally(receipt.rows, receipt.key)
        if receipt.cut_batches:  # at once: the run may be killed
            store.count_cut_batches(receipt.cut_batches)

    with narrator.progress("Extracting", sum(task.prompts for task in tasks), "prompts") as tally:
        stage = Stage(
            "extract", extract_shard, tasks, overlapping=True, on_device=True, under_way=tally.under_way
        )
        receipts = executor.run(stage, finished)
    idle = idle_share(receipts)
    workers = len({receipt.worker for receipt in receipts})
    narrator.tell(f"Workers: {workers:,}; their devices were idle {idle:.0%} of the time")
    if cut := sum(receipt.cut_batches for receipt in receipts):
        narrator.tell(
            f"Out of memory: {cut} batches were cut in two, and their last bits may differ; set "
            "cluster.batch_tokens lower next time"
        )
    return receipts, idle


def model_spec(store: LogitStore, config: RunConfig) -> ModelSpec:
    """Return the model to load, in the store's precision."""
    return replace(config.model_spec(), dtype=cast(Precision, store.identity.compute))
