"""One description of a run in numbers, from which `lincorr plan` and `lincorr plan --gpus` are printed.

It is made from prepared inputs, or from the model's config.json: before there are weights, and even without
a tokenizer. What a run depends on (hidden states, bases, solvers, shards, memory) is decided by the same
functions for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lincorr.model.device import resolve_dtype
from lincorr.model.files import config_folder, converted_folder
from lincorr.model.load import load_config, load_tokenizer
from lincorr.model.tuned import is_remembered
from lincorr.prompts.trees import PromptTemplate, group_templates, merge_prompts, trunk_of
from lincorr.solvers.choose import Choice
from lincorr.store.shards import DEFAULT_SHARD_ROWS, GPU_SHARD_ROWS
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.plan.costs import BATCH_TOKENS, FitSizes
from pipeline.plan.counts import Counts, count_inputs, count_with_tokenizer, count_words
from pipeline.plan.fits import Basis, FitRun, choose_fits
from pipeline.plan.memory import fit_memory
from pipeline.plan.model_sizes import ModelSizes, model_sizes
from pipeline.prepare.asked import AskedInputs
from pipeline.prepare.limits import positions
from pipeline.prepare.prepare import Inputs

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True, slots=True)
class Group:
    """Templates that are asked in one prompt tree.

    Attributes:
        templates: their names.
        own_tokens: computed for every subject.
        seen_tokens: these and the trunk's, which are computed once.
    """

    templates: tuple[str, ...]
    own_tokens: int
    seen_tokens: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A run in numbers.

    Attributes:
        sizes: of the model.
        dtype: precision that it computes in.
        n_subjects, n_fit: all of them, and those to fit; the others are held out.
        n_stored: distinct subjects, each of which is a row of the store.
        groups: of templates.
        asked: what the model is asked outright, after them.
        columns: template -> logits that are stored.
        vocabulary_size: V, of the tokenizer where there is one.
        fits: (relation, basis) -> sizes and solver.
        n_sources: different source prompts of the relations.
        hidden: whether hidden states are stored.
        itemsize: bytes of a stored number.
        shard_rows: subjects in a shard.
        batch_tokens: in a pass.
        tries_batches: whether a run first tries out how many these should be.
        gpus_per_worker: over which a copy of the model is spread.
        tokenized: whether tokens and columns were counted by the model's tokenizer, or words and names were.
    """

    sizes: ModelSizes
    dtype: str
    n_subjects: int
    n_fit: int
    n_stored: int
    groups: tuple[Group, ...]
    asked: tuple[AskedInputs, ...]
    columns: dict[str, int]
    vocabulary_size: int
    fits: dict[tuple[str, Basis], tuple[FitSizes, Choice]]
    n_sources: int
    hidden: bool
    itemsize: int
    shard_rows: int
    batch_tokens: int
    tries_batches: bool
    gpus_per_worker: int
    tokenized: bool

    @property
    def choices(self) -> dict[tuple[str, Basis], Choice]:
        """(relation, basis) -> solver, reason and cost."""
        return {name: choice for name, (_, choice) in self.fits.items()}

    @property
    def n_shards(self) -> int:
        """Tasks of extraction."""
        return -(-self.n_stored // self.shard_rows)

    @property
    def own_tokens(self) -> int:
        """Tokens of one subject under all templates."""
        return sum(group.own_tokens for group in self.groups)

    @property
    def row_width(self) -> int:
        """Stored numbers of a subject."""
        return sum(self.template_width(name) for name in self.columns)

    def template_width(self, template: str) -> int:
        """Return the stored numbers of a subject under one template."""
        return self.columns[template] + (self.sizes.width if self.hidden else 0)

    @property
    def data_bytes(self) -> int:
        """Bytes of logits and hidden states, as receipts count them."""
        return self.n_stored * self.row_width * self.itemsize

    @property
    def asked_bytes(self) -> int:
        """Bytes of the answers to what is asked outright."""
        return sum(asked.answer_bytes for asked in self.asked)

    @property
    def head_bytes(self) -> int:
        """Bytes of the output head, stored once in float32 beside hidden states."""
        return self.vocabulary_size * self.sizes.width * 4 if self.hidden else 0

    @property
    def file_bytes(self) -> int:
        """Bytes of the model's weight files."""
        return self.sizes.weight_bytes(dtype_bytes(self.sizes.stored_dtype))

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights of one loaded copy."""
        return self.sizes.weight_bytes(dtype_bytes(self.dtype))

    @property
    def subject_flops(self) -> float:
        """Operations of one subject under all templates."""
        trees = sum(self.sizes.flops(group.own_tokens, group.seen_tokens) for group in self.groups)
        return trees + 2.0 * self.sizes.width * sum(self.columns.values())

    def asked_flops(self, asked: AskedInputs) -> float:
        """Return the operations of asking outright about a relation, without examples.

        These are computed once. Logarithms of probabilities need all logits, other answers those of targets.
        """
        own = asked.tokens / asked.n_trees
        read = self.vocabulary_size if asked.sums else len(asked.targets)
        return asked.n_trees * self.sizes.flops(own, own) + 2.0 * self.sizes.width * asked.n_ends * read


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of a number."""
    return {"float64": 8, "float32": 4}.get(dtype, 2)


# --- the two ways to it --------------------------------------------------------------------------------


def workload_here(config: RunConfig, inputs: Inputs, store: LogitStore | None) -> Workload:
    """Describe a run of this machine or its cluster.

    Args:
        inputs: prepared.
        store: that there is already, whose identity decides what it can.

    Raises:
        BadInput: the subjects cannot be split, or no solver can take a fit.
    """
    settings = load_config(inputs.folder, trust_remote_code=config.model.trust_remote_code)
    return _workload(
        config,
        settings,
        count_inputs(config, inputs),
        device="cpu",
        memory_bytes=fit_memory(config.fit, config.cluster),
        store=store,
    )


def workload(config: RunConfig, *, host_bytes: int) -> Workload:
    """Describe a run on GPUs from the model's config.json, and its tokenizer where there is one.

    Args:
        host_bytes: memory of the host that fits.

    Raises:
        BadInput: a setting cannot be met.
    """
    spec = config.model.spec()
    folder = config_folder(spec)
    settings = load_config(folder, trust_remote_code=spec.trust_remote_code)
    if _has_tokenizer(folder):
        tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
        counts = count_with_tokenizer(config, tokenizer, positions(settings))
    else:
        sizes = model_sizes(settings, trust_remote_code=spec.trust_remote_code)
        counts = count_words(config, sizes.vocabulary_size, positions(settings))
    memory = fit_memory(config.fit, host_bytes=host_bytes)
    return _workload(config, settings, counts, device="cuda", memory_bytes=memory)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def _workload(
    config: RunConfig,
    settings: Any,
    counts: Counts,
    *,
    device: str,
    memory_bytes: int,
    store: LogitStore | None = None,
) -> Workload:
    """Put what was counted together with the model's sizes and what the settings decide."""
    sizes = model_sizes(settings, trust_remote_code=config.model.trust_remote_code)
    made = store.identity if store else None
    hidden = made.hidden if made else stores_hidden(config, softcap=sizes.softcap)
    itemsize = np.dtype(config.store.precision).itemsize
    run = FitRun(
        n=counts.n_fit,
        t=counts.n_subjects - counts.n_fit,
        n_stored=counts.n_stored,
        columns=counts.columns,
        width=sizes.width,
        vocabulary_size=counts.vocabulary_size,
        hidden=hidden,
        linear=made.linear if made else not sizes.softcap,
        itemsize=itemsize,
    )
    return Workload(
        sizes=sizes,
        dtype=config.model.dtype if config.model.dtype != "auto" else resolve_dtype("auto", device),
        n_subjects=counts.n_subjects,
        n_fit=counts.n_fit,
        n_stored=counts.n_stored,
        groups=_groups(counts.prompts, counts.subject_tokens),
        asked=counts.asked,
        columns=counts.columns,
        vocabulary_size=counts.vocabulary_size,
        fits=choose_fits(config.fit, counts.relations, run, memory_bytes),
        n_sources=len({relation.source for relation in counts.relations}),
        hidden=hidden,
        itemsize=itemsize,
        shard_rows=made.shard_rows if made else shard_rows(config.store.shard_rows, on_gpu=device == "cuda"),
        batch_tokens=made.batch_tokens if made else config.cluster.batch_tokens or BATCH_TOKENS,
        tries_batches=not (made or config.cluster.batch_tokens or _is_tried_out(config, device)),
        gpus_per_worker=config.cluster.gpus_per_worker,
        tokenized=counts.tokenized,
    )


def _is_tried_out(config: RunConfig, device: str) -> bool:
    return device == "cpu" and is_remembered(converted_folder(config.model.spec()))


def _groups(prompts: Mapping[str, PromptTemplate], subject_tokens: int) -> tuple[Group, ...]:
    """Merge templates into prompt trees, as extraction does."""
    subject = range(-1, -1 - subject_tokens, -1)  # no token's id
    groups = []
    for names in group_templates(prompts):
        members = [prompts[name] for name in names]
        tree = merge_prompts([(*t.before, *subject, *t.after) for t in members], trunk_of(members))
        groups.append(Group(tuple(names), tree.shape.own_tokens, len(tree.shape.parents)))
    return tuple(groups)


# --- what settings leave open --------------------------------------------------------------------------


def stores_hidden(config: RunConfig, *, softcap: bool) -> bool:
    """Whether a new store will have hidden states: where they are asked for, or lead to the logits."""
    return not softcap if config.store.hidden is None else config.store.hidden


def shard_rows(asked: int | None, *, on_gpu: bool) -> int:
    """Return the subjects in a shard of a new store."""
    return asked or (GPU_SHARD_ROWS if on_gpu else DEFAULT_SHARD_ROWS)
