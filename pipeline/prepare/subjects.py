"""The subjects of a run: read from a file, or drawn from the vocabulary."""

from collections.abc import Sequence
from pathlib import Path

from lincorr.errors import BadInput
from lincorr.prompts.subjects import (
    Subjects,
    notebook_subjects,
    read_subjects,
    read_token_ids,
    round_trips,
    string_subjects,
    token_subjects,
    vocabulary_subjects,
)
from lincorr.prompts.tokens import Tokenizer
from pipeline.config import SubjectSettings


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
