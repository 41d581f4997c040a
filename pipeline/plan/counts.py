"""What a run asks of a model, counted in tokens, or in words where there is no tokenizer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lincorr.errors import BadInput
from lincorr.prompts.columns import Columns, has_choice
from lincorr.prompts.subjects import Subjects, read_subjects, split_rows
from lincorr.prompts.tokens import Tokenizer, token_texts
from lincorr.prompts.trees import PromptTemplate, prompt_template
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Relation, Template
from pipeline.config import RunConfig
from pipeline.prepare.asked import AskedInputs, asked_inputs, each_once, own_names
from pipeline.prepare.prepare import Inputs, sample_prompts
from pipeline.prepare.relations import (
    RelationInputs,
    answers_of,
    candidates,
    gather_columns,
    is_named,
    relations_in_tokens,
    truth_in_tokens,
    with_asked,
)
from pipeline.prepare.subjects import choose_subjects


@dataclass(frozen=True, slots=True)
class RelationCounts:
    """A relation in numbers.

    Attributes:
        name: of the relation.
        source, target: names of its templates.
        p, q: answer columns of either side.
    """

    name: str
    source: str
    target: str
    p: int
    q: int

    @classmethod
    def of(cls, relation: Relation, p: int, q: int) -> "RelationCounts":
        """Count a relation that has so many columns."""
        return cls(relation.name, relation.source.template.name, relation.target.template.name, p, q)


@dataclass(frozen=True, slots=True)
class Counts:
    """What is asked, in numbers.

    Attributes:
        n_subjects, n_fit: all subjects, and those to fit; the others are held out.
        n_stored: distinct subjects, each of which is a row of the store.
        subject_tokens: of one subject.
        relations: with their columns.
        columns: template -> logits that are stored.
        prompts: template -> its tokens before and after the subject.
        asked: what the model is asked outright.
        vocabulary_size: V.
        tokenized: whether the model's tokenizer counted; else words stand for tokens, and names for columns.
    """

    n_subjects: int
    n_fit: int
    n_stored: int
    subject_tokens: int
    relations: tuple[RelationCounts, ...]
    columns: dict[str, int]
    prompts: dict[str, PromptTemplate]
    asked: tuple[AskedInputs, ...]
    vocabulary_size: int
    tokenized: bool


def count_inputs(config: RunConfig, inputs: Inputs) -> Counts:
    """Count what was prepared.

    Raises:
        BadInput: the subjects cannot be split.
    """
    return _counts(
        config,
        inputs.subjects,
        inputs.relations,
        inputs.columns,
        inputs.prompts,
        inputs.sample,
        len(inputs.token_texts),
    )


def count_with_tokenizer(config: RunConfig, tokenizer: Tokenizer, most: int | None) -> Counts:
    """Count what `prepare` would prepare; the model's weights are not needed.

    Args:
        most: positions of the model, if there is a limit.

    Raises:
        BadInput: a setting cannot be met.
    """
    relations, _ = relations_in_tokens(config, tokenizer)
    subjects, _ = choose_subjects(tokenizer, config.subjects)
    templates, columns = gather_columns(relations)
    prompts = {name: prompt_template(tokenizer, t.text) for name, t in templates.items()}
    sample = {name: sample_prompts(tokenizer, prompt, subjects) for name, prompt in prompts.items()}
    relations = with_asked(config, relations, tokenizer, most)
    return _counts(config, subjects, relations, columns, prompts, sample, len(token_texts(tokenizer)))


def relation_counts(relations: Sequence[RelationInputs]) -> tuple[RelationCounts, ...]:
    """Count the columns of relations in a model's tokens."""
    return tuple(RelationCounts.of(r.relation, len(r.source), len(r.target)) for r in relations)


def _counts(
    config: RunConfig,
    subjects: Subjects,
    relations: Sequence[RelationInputs],
    columns: Mapping[str, Columns],
    prompts: dict[str, PromptTemplate],
    sample: Mapping[str, Sequence[Sequence[int]]],
    vocabulary_size: int,
) -> Counts:
    fit, _ = split_rows(subjects.texts, config.subjects.split, seed=config.subjects.seed)
    name, prompt = next(iter(prompts.items()))
    around = len(prompt.before) + len(prompt.after)
    lengths = [len(tokens) - around for tokens in sample[name]]
    return Counts(
        n_subjects=len(subjects),
        n_fit=len(fit),
        n_stored=len(set(subjects.identifiers())),
        subject_tokens=max(1, round(sum(lengths) / len(lengths))),
        relations=relation_counts(relations),
        columns=_stored(config, {name: len(ids) for name, ids in columns.items()}, vocabulary_size),
        prompts=prompts,
        asked=each_once(relation.asked for relation in relations),
        vocabulary_size=vocabulary_size,
        tokenized=True,
    )


def _stored(config: RunConfig, columns: dict[str, int], vocabulary_size: int) -> dict[str, int]:
    return dict.fromkeys(columns, vocabulary_size) if config.store.logits == "all" else columns


# --- words in place of tokens --------------------------------------------------------------------------


def count_words(config: RunConfig, vocabulary_size: int, most: int | None) -> Counts:
    """Count words and marks as tokens, and every name as a column.

    Args:
        most: positions of the model, if there is a limit.

    Raises:
        BadInput: a setting cannot be met.
    """
    catalogue = load_catalogue(config.catalogue)
    names: dict[str, set[str]] = {}
    templates: dict[str, Template] = {}
    relations = []
    asked: dict[str, AskedInputs | None] = {}
    for relation in (catalogue.relation(name) for name in candidates(config, catalogue)):
        answers = [set(found) for found in answers_of(config, relation)]
        if not is_named(config, relation.name) and not has_choice(*map(len, answers)):
            continue
        relations.append(RelationCounts.of(relation, *map(len, answers)))
        asked[relation.name] = _asked(config, relation, most)
        for side, found in zip((relation.source, relation.target), answers, strict=True):
            templates[side.template.name] = side.template
            names.setdefault(side.template.name, set()).update(found)
    if not relations:
        raise BadInput("relations: no side of any has two answers in this model's vocabulary; name others")
    n_subjects, subject_words = _subjects(config, vocabulary_size)
    ids: dict[str, int] = {}
    return Counts(
        n_subjects=n_subjects,
        n_fit=n_subjects // 2,
        n_stored=n_subjects,
        subject_tokens=subject_words,
        relations=tuple(relations),
        columns=_stored(config, {name: len(found) for name, found in names.items()}, vocabulary_size),
        prompts={name: _prompt(template, ids) for name, template in templates.items()},
        asked=each_once(own_names(asked).values()),
        vocabulary_size=vocabulary_size,
        tokenized=False,
    )


def _asked(config: RunConfig, relation: Relation, most: int | None) -> AskedInputs | None:
    """What the model is asked outright about a relation, in words."""
    ids: dict[str, int] = {}
    source, target = (_columns(names, ids) for names in answers_of(config, relation))
    truth = truth_in_tokens(relation, source, target)

    def count(text: str) -> int:
        return 1 + len(_split(text))  # with one in front for BOS

    return asked_inputs(relation, source, target, truth, count, most, multi_token=config.multi_token)


def _columns(answers: Iterable[str], ids: dict[str, int]) -> Columns:
    """Give every name a column of its own, and its words as tokens."""
    names = tuple(dict.fromkeys(answers))
    tokens = tuple(tuple(ids.setdefault(word, len(ids)) for word in _split(name)) for name in names)
    every = (True,) * len(names)
    return Columns(np.arange(len(names)), names, names, every, {}, tokens, every)


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
    lines = read_subjects(asked.file)
    words = sum(len(_split(line)) for line in lines)
    return len(lines), 1 if asked.kind == "tokens" else max(1, round(words / max(1, len(lines))))


def _prompt(template: Template, ids: dict[str, int]) -> PromptTemplate:
    """Compile a template into words, with one in front for BOS."""
    before, _, after = template.text.partition("{}")
    known = [[ids.setdefault(word, len(ids) + 1) for word in _split(text)] for text in (before, after)]
    return PromptTemplate((0, *known[0]), tuple(known[1]), template.text)


def _split(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)
