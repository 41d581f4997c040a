"""A run in numbers from the model's config.json: before there are weights, and even without a tokenizer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lincorr.errors import BadInput
from lincorr.model.device import resolve_dtype
from lincorr.model.files import config_folder
from lincorr.model.load import load_config, load_tokenizer
from lincorr.prompts.columns import NoColumns, answer_columns, has_choice
from lincorr.prompts.subjects import read_lines
from lincorr.prompts.trees import PromptTemplate, group_templates, merge_prompts, prompt_template, trunk_of
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.lists import read_answers
from lincorr.relations.relation import Relation, Template
from lincorr.solvers.choose import Choice, choose
from lincorr.store.shards import GPU_SHARD_ROWS
from pipeline.config import RunConfig
from pipeline.plan.costs import FitSizes
from pipeline.plan.model_sizes import ModelSizes, model_sizes

BATCH_TOKENS = 8192  # of a pass on a GPU where cluster.batch_tokens does not say: ASSUMED, a run tries it out


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
        groups: of templates.
        columns: template -> logits that are kept.
        fits: (relation, source) -> sizes and solver.
        hidden: whether hidden states are kept.
        itemsize: bytes of a stored number.
        shard_rows: subjects in a shard.
        batch_tokens: in a pass.
        tokenized: whether tokens and columns were counted by the model's tokenizer, or words and names were.
    """

    sizes: ModelSizes
    dtype: str
    n_subjects: int
    n_fit: int
    groups: tuple[Group, ...]
    columns: dict[str, int]
    fits: dict[tuple[str, str], tuple[FitSizes, Choice]]
    hidden: bool
    itemsize: int
    shard_rows: int
    batch_tokens: int
    tokenized: bool

    @property
    def n_shards(self) -> int:
        """Tasks of extraction."""
        return -(-self.n_subjects // self.shard_rows)

    @property
    def own_tokens(self) -> int:
        """Tokens of one subject under all templates."""
        return sum(group.own_tokens for group in self.groups)

    @property
    def row_width(self) -> int:
        """Stored numbers of a subject."""
        return sum(c + (self.sizes.width if self.hidden else 0) for c in self.columns.values())

    @property
    def data_bytes(self) -> int:
        """Bytes of logits and hidden states, as receipts count them."""
        return self.n_subjects * self.row_width * self.itemsize

    @property
    def head_bytes(self) -> int:
        """Bytes of the output head, kept once in float32 beside hidden states."""
        return self.sizes.vocabulary_size * self.sizes.width * 4 if self.hidden else 0

    @property
    def file_bytes(self) -> int:
        """Bytes of the model's weight files."""
        return self.sizes.parameters * dtype_bytes(self.sizes.stored_dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights of one loaded copy."""
        return self.sizes.parameters * dtype_bytes(self.dtype)

    @property
    def subject_flops(self) -> float:
        """Operations of one subject under all templates."""
        trees = sum(self.sizes.flops(group.own_tokens, group.seen_tokens) for group in self.groups)
        return trees + 2.0 * self.sizes.width * sum(self.columns.values())


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of a number."""
    return {"float64": 8, "float32": 4}.get(dtype, 2)


def workload(config: RunConfig, *, host_bytes: int) -> Workload:
    """Read the model's configuration, its tokenizer where there is one, and the catalogue.

    Args:
        host_bytes: memory of the host that fits.

    Raises:
        BadInput: a setting cannot be met.
    """
    spec = config.model.spec()
    folder = config_folder(spec)
    settings = load_config(folder, trust_remote_code=spec.trust_remote_code)
    sizes = model_sizes(settings, trust_remote_code=spec.trust_remote_code)
    words = _words(folder, trust_remote_code=spec.trust_remote_code)
    declared = _relations(config)
    answers = {r.name: _columns(words, config, r) for r in declared}
    relations = [r for r in declared if r.name in config.relations or has_choice(*map(len, answers[r.name]))]
    if not relations:
        raise BadInput("relations: no side of any has two answers in this model's vocabulary; name others")
    columns: dict[str, set[object]] = {}
    for relation in relations:
        for side, ids in zip((relation.source, relation.target), answers[relation.name], strict=True):
            columns.setdefault(side.template.name, set()).update(ids)
    kept = {name: len(ids) for name, ids in columns.items()}
    if config.store.logits == "all":
        kept = dict.fromkeys(kept, sizes.vocabulary_size)
    templates = {side.template.name: side.template for r in relations for side in (r.source, r.target)}
    n_subjects, subject_words = _subjects(config, sizes.vocabulary_size)
    hidden = not sizes.softcap if config.store.hidden is None else config.store.hidden
    work = Workload(
        sizes=sizes,
        dtype=config.model.dtype if config.model.dtype != "auto" else resolve_dtype("auto", "cuda"),
        n_subjects=n_subjects,
        n_fit=n_subjects // 2,
        groups=_groups({name: words.compile(t) for name, t in templates.items()}, subject_words),
        columns=kept,
        fits={},
        hidden=hidden,
        itemsize=np.dtype(config.store.precision).itemsize,
        shard_rows=config.store.shard_rows or GPU_SHARD_ROWS,
        batch_tokens=config.cluster.batch_tokens or BATCH_TOKENS,
        tokenized=isinstance(words, _Tokens),
    )
    memory = int(config.fit.memory * 1e9) if config.fit.memory else host_bytes // 2
    for relation in relations:
        p, q = (len(ids) for ids in answers[relation.name])
        _add_fits(work, config, relation, (p, q), memory, others=2 if len(relations) > 1 else 0)
    return work


def _add_fits(
    work: Workload,
    config: RunConfig,
    relation: Relation,
    answers: tuple[int, int],
    memory: int,
    *,
    others: int,
) -> None:
    kept_p, kept_q = (work.columns[side.template.name] for side in (relation.source, relation.target))
    everything = work.sizes.vocabulary_size
    sources = {"domain": answers[0]}
    if work.hidden or kept_p == everything:
        sources["vocabulary"] = everything
    for source, width in sources.items():
        sizes = FitSizes(
            n=work.n_fit,
            t=work.n_subjects - work.n_fit,
            p=width,
            q=answers[1],
            kept_p=kept_p,
            kept_q=kept_q,
            d=work.sizes.width,
            vocabulary=everything,
            n_subjects=work.n_subjects,
            itemsize=work.itemsize,
            hidden=work.hidden,
            others=others,
        )
        choice = choose(
            sizes.n,
            sizes.p,
            sizes.q,
            width=sizes.d,
            hidden=work.hidden,
            linear=not work.sizes.softcap,
            memory_bytes=memory,
            root_penalty=config.fit.penalty,
            method=config.fit.method,
        )
        work.fits[relation.name, source] = (sizes, choice)


def _relations(config: RunConfig) -> list[Relation]:
    catalogue = load_catalogue(config.catalogue)
    return [catalogue.relation(name) for name in catalogue.select(config.relations)]


def _columns(words: "_Vocabulary", config: RunConfig, relation: Relation) -> list[Sequence[object]]:
    """The columns of both sides; none where a relation that was not asked for by name has no answer."""
    source = relation.source.answers if config.source_answers is None else read_answers(config.source_answers)
    target = relation.target.answers if config.target_answers is None else read_answers(config.target_answers)
    gaps = relation.source.template.gap, relation.target.template.gap
    try:
        return [words.columns(names, gap) for names, gap in zip((source, target), gaps, strict=True)]
    except NoColumns:
        if relation.name in config.relations:
            raise
        return [(), ()]


def _subjects(config: RunConfig, vocabulary_size: int) -> tuple[int, int]:
    """Return how many subjects there are, and the words of one."""
    asked = config.subjects
    if asked.kind == "vocabulary":
        number = vocabulary_size if asked.count == "all" else asked.count
        if number > vocabulary_size:
            raise BadInput(
                f"subjects.count: {number:,} of a vocabulary of {vocabulary_size:,} tokens; ask for fewer, "
                "or all"
            )
        return number, 1
    assert asked.file is not None  # the configuration refuses this already
    lines = read_lines(asked.file)
    words = sum(len(_split(line)) for line in lines)
    return len(lines), 1 if asked.kind == "tokens" else max(1, round(words / max(1, len(lines))))


def _groups(templates: dict[str, PromptTemplate], subject_words: int) -> tuple[Group, ...]:
    """Merge templates into prompt trees, as extraction does."""
    subject = range(-1, -1 - subject_words, -1)  # no token's id
    groups = []
    for names in group_templates(templates):
        members = [templates[name] for name in names]
        tree = merge_prompts([(*t.before, *subject, *t.after) for t in members], trunk_of(members))
        groups.append(Group(tuple(names), tree.shape.own_tokens, len(tree.shape.parents)))
    return tuple(groups)


# --- tokens, or words in their place --------------------------------------------------------------------


class _Vocabulary(Protocol):
    def compile(self, template: Template) -> PromptTemplate: ...
    def columns(self, names: Sequence[str], gap: str) -> Sequence[object]: ...


class _Tokens:
    """The model's own tokenizer."""

    def __init__(self, folder: Path, *, trust_remote_code: bool) -> None:
        self._tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)

    def compile(self, template: Template) -> PromptTemplate:
        return prompt_template(self._tokenizer, template.text)

    def columns(self, names: Sequence[str], gap: str) -> Sequence[object]:
        ids: list[int] = answer_columns(self._tokenizer, tuple(names), "answers", gap).ids.tolist()
        return ids


class _Words:
    """Words and marks for tokens, with one in front for BOS; every name for a column."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def compile(self, template: Template) -> PromptTemplate:
        before, _, after = template.text.partition("{}")
        return PromptTemplate((0, *self._known(before)), tuple(self._known(after)), template.text)

    def columns(self, names: Sequence[str], gap: str) -> Sequence[object]:
        return sorted(set(names))

    def _known(self, text: str) -> list[int]:
        return [self._ids.setdefault(word, len(self._ids) + 1) for word in _split(text)]


def _words(folder: Path, *, trust_remote_code: bool) -> _Vocabulary:
    if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return _Tokens(folder, trust_remote_code=trust_remote_code)
    return _Words()


def _split(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)
