"""The relations of a run in a model's tokens: columns, ground truth, what is asked outright."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lincorr.errors import BadInput
from lincorr.prompts.columns import Columns, NoColumns, answer_columns, has_choice
from lincorr.prompts.tokens import Tokenizer, encode, leading_specials
from lincorr.relations.catalogue import Catalogue, load_catalogue
from lincorr.relations.lists import read_answers
from lincorr.relations.relation import Relation, Template, first_wording
from lincorr.relations.truth_names import truth_note, unknown_names
from pipeline.config import RunConfig
from pipeline.prepare.asked import AskedInputs, asked_inputs, own_names


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


def candidates(config: RunConfig, catalogue: Catalogue) -> list[str]:
    """Return the names of the relations that are fitted: those asked for, in every wording if one is chosen.

    Raises:
        BadInput: one is unknown.
    """
    return catalogue.select(config.relations, every_wording=config.wordings != "paper")


def is_named(config: RunConfig, name: str) -> bool:
    """Whether a relation, or the one of which it is a wording, is asked for by its own name."""
    return name in config.relations or first_wording(name) in config.relations


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
    source, target = config.source_answers, config.target_answers
    return (
        relation.source.answers if source is None else read_answers(source, "source"),
        relation.target.answers if target is None else read_answers(target, "target"),
    )


def truth_in_tokens(relation: Relation, source: Columns, target: Columns) -> dict[int, tuple[int, ...]]:
    """Return source token id -> correct target token ids, of the columns that are counted."""
    from_name, to_name = source.counted_ids(), target.counted_ids()
    right: dict[int, list[int]] = {}
    for from_answer, to_answer in relation.truth:
        if from_answer in from_name and to_answer in to_name:
            right.setdefault(from_name[from_answer], []).append(to_name[to_answer])
    return {token: tuple(dict.fromkeys(tokens)) for token, tokens in right.items()}


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


def relation_notes(config: RunConfig, relations: tuple[RelationInputs, ...]) -> tuple[str, ...]:
    """Return sentences for the plan and the report: answers that count, what a catalogue may not mean."""
    notes = (_multi_token_notes, _truth_notes, _space_notes)
    return tuple(note for some in notes for note in some(config, relations))


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
        if relation.truth and not inputs.truth:
            notes.append(
                f"Relation {inputs.name!r}: no pair of the truth has its source and its target, in this "
                "order, among the answers that count, so that there are no hit rates."
            )
    return notes


def _space_notes(config: RunConfig, relations: tuple[RelationInputs, ...]) -> list[str]:
    """Note templates that end in a space: it is part of the prompt, so answers are tokens without one."""
    sides = [side for inputs in relations for side in (inputs.relation.source, inputs.relation.target)]
    ending = {side.template.name for side in sides if side.template.text.endswith(" ")}
    return [
        f"Template {name!r} ends in a space, so that its answers are tokens without a leading space, which "
        "often are parts of words: leave the space out unless it is meant."
        for name in sorted(ending)
    ]
