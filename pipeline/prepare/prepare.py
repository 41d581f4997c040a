"""Configuration -> the inputs of a run: subjects, columns, ground truth, the model's sizes. CPU only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.model.files import locate, needs_conversion
from lincorr.model.fingerprint import Fingerprint, fingerprint_of, weights_ahead
from lincorr.model.load import load_config, load_tokenizer
from lincorr.model.parts import softcap
from lincorr.prompts.columns import Columns, NoColumns, answer_columns, has_choice
from lincorr.prompts.subjects import (
    Subjects,
    extreme_subjects,
    notebook_subjects,
    read_subjects,
    read_token_ids,
    round_trips,
    string_subjects,
    token_subjects,
    vocabulary_subjects,
)
from lincorr.prompts.tokens import Tokenizer, encode, leading_specials, token_texts
from lincorr.prompts.trees import PromptTemplate, prompt_ids, prompt_template
from lincorr.relations.catalogue import Catalogue, load_catalogue
from lincorr.relations.lists import read_answers
from lincorr.relations.relation import Relation, Template, first_wording
from lincorr.relations.truth_names import truth_note, unknown_names
from pipeline.config import RunConfig, SubjectSettings
from pipeline.prepare.asked import AskedInputs, asked_inputs, each_once, own_names
from pipeline.prepare.limits import embedded_tokens, positions, require_answerable

SAMPLE = 256


@dataclass(frozen=True, slots=True)
class RelationInputs:
    """A relation in one model's tokens.

    Attributes:
        relation: as the catalogue has it.
        source, target: the columns of its answers.
        truth: source token id -> correct target token ids, of the columns that are counted.
        asked: what the model is asked outright; None where nothing is.
    """

    relation: Relation
    source: Columns
    target: Columns
    truth: dict[int, tuple[int, ...]]
    asked: AskedInputs | None = None

    @property
    def name(self) -> str:
        """The relation's name."""
        return self.relation.name


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs of a run that are known before weights are loaded.

    Attributes:
        folder: of the model.
        fingerprint: its digests.
        subjects: in the order of the fit.
        extremes: those with the longest and the shortest prompts, and the first.
        relations: with their columns.
        columns: template name -> the columns whose logits are stored.
        templates: template name -> template.
        prompts: template name -> its token ids before and after the subject.
        sample: template name -> token ids of the prompts of the first subjects, `SAMPLE` at most.
        token_texts: surface text of every token.
        width, head_softcap: d of the model, and the cap of its logits, if any.
        notes: sentences for the plan and the report.
    """

    folder: Path
    fingerprint: Fingerprint
    subjects: Subjects
    extremes: Subjects
    relations: tuple[RelationInputs, ...]
    columns: dict[str, Columns]
    templates: dict[str, Template]
    prompts: dict[str, PromptTemplate]
    sample: dict[str, list[list[int]]]
    token_texts: list[str]
    width: int
    head_softcap: float | None
    notes: tuple[str, ...]

    @property
    def asked(self) -> tuple[AskedInputs, ...]:
        """What the model is asked outright, once for all wordings that share it."""
        return each_once(relation.asked for relation in self.relations)


def prepare(config: RunConfig, tell: Callable[[str], None] = lambda _: None) -> Inputs:
    """Read tokenizer, catalogue and word lists; write nothing but a converted model.

    Args:
        tell: called with a message before a slow step.

    Raises:
        BadInput: a setting cannot be met.
    """
    _require_known_relations(config)
    spec, folder = config.model.spec(), _located(config, tell)
    weights = weights_ahead(folder)
    tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    relations, left_out = relations_in_tokens(config, tokenizer)
    sizes = load_config(folder, trust_remote_code=spec.trust_remote_code)
    n_rows = embedded_tokens(sizes)
    texts = token_texts(tokenizer)[:n_rows]
    subjects, notes = choose_subjects(tokenizer, config.subjects, n_rows)
    extremes = extreme_subjects(tokenizer, subjects)
    templates, columns = gather_columns(relations)
    prompts = {name: prompt_template(tokenizer, template.text) for name, template in templates.items()}
    if config.store.logits == "all":
        columns = dict.fromkeys(columns, _every_column(texts))
    require_answerable(sizes, tokenizer, prompts, columns, subjects, extremes)
    relations = with_asked(config, relations, tokenizer, positions(sizes))
    return Inputs(
        folder=folder,
        fingerprint=fingerprint_of(spec, tokenizer, weights),
        subjects=subjects,
        extremes=extremes,
        relations=relations,
        columns=columns,
        templates=templates,
        prompts=prompts,
        sample={name: sample_prompts(tokenizer, prompt, subjects) for name, prompt in prompts.items()},
        token_texts=texts,
        width=int(sizes.get_text_config().hidden_size),
        head_softcap=softcap(sizes),
        notes=(*left_out, *notes, *_multi_token_notes(config, relations), *_truth_notes(config, relations)),
    )


def prepare_relations(config: RunConfig) -> tuple[tuple[RelationInputs, ...], list[str]]:
    """Return the relations in the model's tokens and the text of every token, without drawing subjects.

    Raises:
        BadInput: a setting cannot be met.
    """
    _require_known_relations(config)
    _, tokenizer = open_tokenizer(config, lambda _: None)
    relations, _ = relations_in_tokens(config, tokenizer)
    return relations, token_texts(tokenizer)


def _multi_token_notes(config: RunConfig, relations: tuple[RelationInputs, ...]) -> list[str]:
    """Note how many answers count only since those of several tokens do."""
    if not config.multi_token:
        return []
    sides = [side for inputs in relations for side in (inputs.source, inputs.target)]
    more = sum(sum(side.counted) - sum(side.whole) for side in sides)
    return [
        f"multi_token: {more:,} answers of several tokens count beside {sum(sum(s.whole) for s in sides):,} "
        "of one token, in maps by their first token."
    ]


def with_asked(
    config: RunConfig, relations: Sequence[RelationInputs], tokenizer: Tokenizer, most: int | None
) -> tuple[RelationInputs, ...]:
    """Add to each relation what the model is asked outright, in prompts of so many tokens at most."""

    def count(text: str) -> int:
        return len(leading_specials(tokenizer)) + len(encode(tokenizer, text))

    found = {
        r.name: asked_inputs(
            r.relation, r.source, r.target, r.truth, count, most, multi_token=config.multi_token
        )
        for r in relations
    }
    named = own_names(found)
    return tuple(replace(relation, asked=named.get(relation.name)) for relation in relations)


def _truth_notes(config: RunConfig, relations: tuple[RelationInputs, ...]) -> list[str]:
    """Note the names in the ground truth of the user's relations that are not among the answers.

    Shipped tables are exempt: they cover more than their relations' answers.
    """
    if not config.catalogue:
        return []
    catalogue = load_catalogue(config.catalogue)
    notes = []
    for inputs in relations:
        if isinstance(catalogue.describe(inputs.name).truth, str):
            continue
        relation, (source, target) = inputs.relation, (inputs.source, inputs.target)
        unknown = unknown_names(
            relation.truth,
            (*relation.source.answers, *source.names, *source.dropped),
            (*relation.target.answers, *target.names, *target.dropped),
        )
        if unknown:
            notes.append(truth_note(inputs.name, unknown))
    return notes


def sample_prompts(tokenizer: Tokenizer, prompt: PromptTemplate, subjects: Subjects) -> list[list[int]]:
    """Tokenise the prompts of the first subjects, `SAMPLE` at most."""
    return prompt_ids(tokenizer, prompt, subjects.ids[:SAMPLE].tolist(), subjects.texts[:SAMPLE])


def candidates(config: RunConfig, catalogue: Catalogue) -> list[str]:
    """Return the names of the relations that are fitted: those asked for, in every wording if one is chosen.

    Raises:
        BadInput: one is unknown.
    """
    return catalogue.select(config.relations, every_wording=config.wordings != "paper")


def _require_known_relations(config: RunConfig) -> None:
    """Refuse a relation that no catalogue has, with BadInput, before any slow step."""
    candidates(config, load_catalogue(config.catalogue))


def is_named(config: RunConfig, name: str) -> bool:
    """Whether a relation, or the one of which it is a wording, is asked for by its own name."""
    return name in config.relations or first_wording(name) in config.relations


def relations_in_tokens(
    config: RunConfig, tokenizer: Tokenizer
) -> tuple[tuple[RelationInputs, ...], tuple[str, ...]]:
    """Return the relations in a model's tokens, and a note on those that are left out.

    Raises:
        BadInput: none remains, or one that is asked for by name has no answers in this vocabulary.
    """
    catalogue = load_catalogue(config.catalogue)
    relations: list[RelationInputs] = []
    left_out: list[str] = []
    for name in candidates(config, catalogue):
        asked_for = is_named(config, name)
        try:
            relation = _in_tokens(catalogue.relation(name), tokenizer, config)
        except NoColumns:
            if asked_for:
                raise
            left_out.append(name)
            continue
        if asked_for or has_choice(len(relation.source), len(relation.target)):
            relations.append(relation)
        else:
            left_out.append(name)
    note = (
        "left out, since one side has fewer than two answers in this model's vocabulary "
        f"(see `lincorr relations check`): {', '.join(left_out)}"
    )
    if not relations:
        raise BadInput(f"relations: nothing remains; {note}")
    return tuple(relations), (note[0].upper() + note[1:] + ".",) if left_out else ()


def open_tokenizer(config: RunConfig, tell: Callable[[str], None]) -> tuple[Path, Tokenizer]:
    """Locate the model, converting it if necessary; return its folder and its tokenizer."""
    folder = _located(config, tell)
    return folder, load_tokenizer(folder, trust_remote_code=config.model.trust_remote_code)


def _located(config: RunConfig, tell: Callable[[str], None]) -> Path:
    spec = config.model.spec()
    if needs_conversion(spec):
        tell("Converting the GGUF file to safetensors (once; the result is cached)")
    return locate(spec)


def choose_subjects(
    tokenizer: Tokenizer, settings: SubjectSettings, n_rows: int | None = None
) -> tuple[Subjects, tuple[str, ...]]:
    """Read or draw the subjects; return them, and what to note of them.

    Args:
        n_rows: of the model's embedding (see `vocabulary_subjects`).

    Raises:
        BadInput: the list cannot be read, or the vocabulary has too few.
    """
    if settings.kind == "tokens":
        return token_subjects(tokenizer, read_token_ids(_file(settings)), n_rows=n_rows), ()
    if settings.kind == "strings":
        texts = read_subjects(_file(settings))
        _refuse_special_tokens(tokenizer, texts)
        return string_subjects(texts), ()
    count = None if settings.count == "all" else settings.count
    if settings.compat == "notebook":
        subjects = notebook_subjects(tokenizer, count or 0, seed=settings.seed)
        same = round_trips(tokenizer, subjects.texts)
        note = (
            f"Notebook subjects: raw spellings, drawn with replacement ({len(set(subjects.texts)):,} "
            f"distinct of {len(subjects):,}); {same:,} of them tokenise back to their own token."
        )
        return subjects, (note,)
    chosen = vocabulary_subjects(
        tokenizer, count, seed=settings.seed, classes=settings.classes, n_rows=n_rows
    )
    return chosen, ()


def _refuse_special_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Refuse subjects in which the tokenizer sees a control token, such as an end of text, and no words."""
    for text in texts:
        for special in tokenizer.all_special_tokens:
            if special in text:
                raise BadInput(
                    f"subjects.file: the subject {text!r} has the special token {special!r} of this model's "
                    "tokenizer; leave it out"
                )


def _file(settings: SubjectSettings) -> Path:
    if settings.file is None:  # already refused by the configuration
        raise BadInput("subjects.file: no file is named")
    return settings.file


def _in_tokens(relation: Relation, tokenizer: Tokenizer, config: RunConfig) -> RelationInputs:
    source_names, target_names = answers_of(config, relation)
    where = f"relation {relation.name!r}"
    gaps = relation.source.template.gap, relation.target.template.gap
    source, target = (
        answer_columns(tokenizer, names, f"{where}: {role} answers", gap, multi_token=config.multi_token)
        for names, role, gap in zip((source_names, target_names), ("source", "target"), gaps, strict=True)
    )
    return RelationInputs(relation, source, target, truth_in_tokens(relation, source, target))


def answers_of(config: RunConfig, relation: Relation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a relation's source and target answers: its own, or the user's lists."""
    given = config.source_answers, config.target_answers
    source, target = (
        side.answers if own is None else read_answers(own)
        for side, own in zip((relation.source, relation.target), given, strict=True)
    )
    return source, target


def truth_in_tokens(relation: Relation, source: Columns, target: Columns) -> dict[int, tuple[int, ...]]:
    """Return source token id -> correct target token ids, of the columns that are counted."""
    from_name, to_name = source.counted_ids(), target.counted_ids()
    right: dict[int, list[int]] = {}
    for from_answer, to_answer in relation.truth:
        if from_answer in from_name and to_answer in to_name:
            right.setdefault(from_name[from_answer], []).append(to_name[to_answer])
    return {token: tuple(dict.fromkeys(tokens)) for token, tokens in right.items()}


def gather_columns(
    relations: Sequence[RelationInputs],
) -> tuple[dict[str, Template], dict[str, Columns]]:
    """Gather the templates of all relations, each with the union of the columns that it needs."""
    templates: dict[str, Template] = {}
    columns: dict[str, Columns] = {}
    for inputs in relations:
        for side, needed in (
            (inputs.relation.source, inputs.source),
            (inputs.relation.target, inputs.target),
        ):
            name = side.template.name
            templates[name] = side.template
            columns[name] = union(columns[name], needed) if name in columns else needed
    return templates, columns


def union(first: Columns, second: Columns) -> Columns:
    """Return the columns of one list of answers, followed by those found only in another."""
    new = ~np.isin(second.ids, first.ids)
    keep = np.flatnonzero(new)
    return Columns(
        np.concatenate([first.ids, second.ids[keep]]),
        first.texts + tuple(second.texts[i] for i in keep),
        first.names + tuple(second.names[i] for i in keep),
        first.whole + tuple(second.whole[i] for i in keep),
        first.dropped | second.dropped,
        first.tokens + tuple(second.tokens[i] for i in keep),
        first.counted + tuple(second.counted[i] for i in keep),
    )


def _every_column(texts: list[str]) -> Columns:
    ids: NDArray[np.int64] = np.arange(len(texts))
    every, tokens = (True,) * len(texts), tuple((token,) for token in range(len(texts)))
    return Columns(ids, tuple(texts), tuple(texts), every, {}, tokens, every)
