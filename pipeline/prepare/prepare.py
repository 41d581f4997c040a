"""Configuration -> the inputs of a run: subjects, columns, ground truth, the model's sizes. CPU only."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lincorr.model.files import locate, needs_conversion
from lincorr.model.fingerprint import Fingerprint, fingerprint_of, weights_ahead
from lincorr.model.load import load_config, load_tokenizer
from lincorr.model.parts import softcap
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import Subjects, extreme_subjects
from lincorr.prompts.tokens import Tokenizer, token_texts, told_apart
from lincorr.prompts.trees import PromptTemplate, prompt_ids, prompt_template
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Template
from pipeline.config import RunConfig
from pipeline.prepare.asked import AskedInputs, each_once
from pipeline.prepare.limits import embedded_tokens, positions, require_answerable
from pipeline.prepare.relations import (
    RelationInputs,
    candidates,
    gather_columns,
    relation_notes,
    relations_in_tokens,
    with_asked,
)
from pipeline.prepare.subjects import choose_subjects

SAMPLE = 256


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
        notes=(*left_out, *notes, *relation_notes(config, relations)),
    )


def prepare_relations(config: RunConfig) -> tuple[tuple[RelationInputs, ...], list[str]]:
    """Return the relations in the model's tokens and the text of every token, without drawing subjects.

    Texts that are bytes of no character are told apart (`told_apart`): words are looked up among them.

    Raises:
        BadInput: a setting cannot be met.
    """
    _require_known_relations(config)
    _, tokenizer = open_tokenizer(config, lambda _: None)
    relations, _ = relations_in_tokens(config, tokenizer)
    return relations, told_apart(token_texts(tokenizer))


def sample_prompts(tokenizer: Tokenizer, prompt: PromptTemplate, subjects: Subjects) -> list[list[int]]:
    """Tokenise the prompts of the first subjects, `SAMPLE` at most."""
    return prompt_ids(tokenizer, prompt, subjects.ids[:SAMPLE].tolist(), subjects.texts[:SAMPLE])


def _require_known_relations(config: RunConfig) -> None:
    """Refuse a relation that no catalogue has, with BadInput, before any slow step."""
    candidates(config, load_catalogue(config.catalogue))


def open_tokenizer(config: RunConfig, tell: Callable[[str], None]) -> tuple[Path, Tokenizer]:
    """Locate the model, converting it if necessary; return its folder and its tokenizer."""
    folder = _located(config, tell)
    return folder, load_tokenizer(folder, trust_remote_code=config.model.trust_remote_code)


def _located(config: RunConfig, tell: Callable[[str], None]) -> Path:
    spec = config.model.spec()
    if needs_conversion(spec):
        tell("Converting the GGUF file to safetensors (once; the result is cached)")
    return locate(spec)


def _every_column(texts: list[str]) -> Columns:
    ids: NDArray[np.int64] = np.arange(len(texts))
    every, tokens = (True,) * len(texts), tuple((token,) for token in range(len(texts)))
    return Columns(ids, tuple(texts), tuple(texts), every, {}, tokens, every)
