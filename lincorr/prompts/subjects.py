"""The subjects X, which fill the slot of a template; row i of every array is subject i."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.tokens import (
    TOKEN_CLASSES,
    TokenClass,
    Tokenizer,
    token_classes,
    token_counts,
    token_texts,
)
from lincorr.text import read_lines, same_form, text_problem

STRING = -1  # the id of a subject that is a string, not one token


@dataclass(frozen=True, slots=True)
class Subjects:
    """An ordered list of subjects.

    Attributes:
        ids: (n,) int64, the token id that is spliced into the template, or `STRING`.
        texts: n surface texts; a string is tokenised together with the template.
        classes: n token classes, or "string".
        left_out: how many candidates of each class were not eligible.
    """

    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    classes: tuple[str, ...]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.texts)

    def identifiers(self) -> list[tuple[int, str]]:
        """What identifies each subject: its token id, and its text if it is a string."""
        return [(int(i), text if i == STRING else "") for i, text in zip(self.ids, self.texts, strict=True)]

    def take(self, rows: Sequence[int]) -> "Subjects":
        """Return the subjects of some rows."""
        texts, classes = (tuple(part[row] for row in rows) for part in (self.texts, self.classes))
        return Subjects(self.ids[list(rows)], texts, classes, {})

    def class_counts(self) -> dict[str, int]:
        """Number of subjects of each class."""
        return dict(Counter(self.classes))


def vocabulary_subjects(
    tokenizer: Tokenizer,
    count: int | None,
    *,
    seed: int = 0,
    classes: Sequence[TokenClass] = ("text",),
    n_rows: int | None = None,
) -> Subjects:
    """Draw `count` vocabulary tokens without replacement, or take all of them in id order (None).

    The draw is the beginning of one seeded permutation of the eligible tokens: a larger count with the
    same seed extends a smaller one. Only tokens of `classes` are eligible; the others are counted.

    Args:
        n_rows: of the model's embedding; it knows no tokens from there on. None: it knows all.

    Raises:
        BadInput: `count` is more than the number of eligible tokens, or there are none.
    """
    texts = token_texts(tokenizer)[:n_rows]
    every_class = token_classes(tokenizer, texts)
    eligible = np.array([i for i, c in enumerate(every_class) if c in classes], dtype=np.int64)
    if (count or 1) > len(eligible):
        raise BadInput(
            f"subjects.count: {count or 1} is more than the {len(eligible)} tokens of class "
            f"{', '.join(classes)} in the vocabulary of {len(texts)}; ask for fewer, or add to "
            f"subjects.classes ({', '.join(TOKEN_CLASSES)})"
        )
    ids = eligible if count is None else np.random.default_rng(seed).permutation(eligible)[:count]
    tally = Counter(c for c in every_class if c and c not in classes)
    return _of_tokens(ids, texts, every_class, {str(c): n for c, n in tally.items()})


def token_subjects(tokenizer: Tokenizer, ids: Sequence[int], *, n_rows: int | None = None) -> Subjects:
    """Take the given token ids, in order.

    Args:
        n_rows: of the model's embedding (see `vocabulary_subjects`).

    Raises:
        BadInput: an id is outside the vocabulary.
    """
    texts = token_texts(tokenizer)[:n_rows]
    classes = token_classes(tokenizer, texts)
    for token in ids:
        if not 0 <= token < len(texts) or classes[token] is None:
            raise BadInput(
                f"subjects.file: token id {token} is outside the vocabulary of {len(texts)} tokens"
            )
    return _of_tokens(np.array(ids, dtype=np.int64), texts, classes, {})


def _of_tokens(
    ids: NDArray[np.int64],
    texts: Sequence[str],
    classes: Sequence[TokenClass | None],
    left_out: dict[str, int],
) -> Subjects:
    return Subjects(ids, tuple(texts[i] for i in ids), tuple(str(classes[i]) for i in ids), left_out)


def string_subjects(texts: Sequence[str]) -> Subjects:
    """Take strings, in order; they are tokenised together with the template."""
    ids = np.full(len(texts), STRING, dtype=np.int64)
    return Subjects(ids, tuple(texts), ("string",) * len(texts), {})


def extreme_subjects(tokenizer: Tokenizer, subjects: Subjects) -> Subjects:
    """Return the first of some subjects, and the one with the fewest tokens and the one with the most."""
    counts = [1] * len(subjects)
    if STRING in subjects.ids:
        counts = token_counts(tokenizer, subjects.texts)
    rows = [0, int(np.argmin(counts)), int(np.argmax(counts))]
    return subjects.take(list(dict.fromkeys(rows)))


def notebook_subjects(tokenizer: Tokenizer, count: int, *, seed: int = 0) -> Subjects:
    """Draw subjects as the reference notebook does: raw spellings ("ĠTokyo"), with replacement.

    The spelling is put into the template as text, so that X is often not the token that was drawn; see
    `round_trips`. For comparison with published figures.
    """
    vocabulary = tokenizer.get_vocab()  # its order is not stable: sort by id
    spellings = sorted(vocabulary, key=vocabulary.__getitem__)
    drawn = np.random.default_rng(seed).choice(len(spellings), size=count)
    return string_subjects([spellings[i] for i in drawn])


def round_trips(tokenizer: Tokenizer, spellings: Sequence[str]) -> int:
    """Count the raw spellings that tokenise back to the one token they spell."""
    vocabulary = tokenizer.get_vocab()
    encoded = tokenizer(list(spellings), add_special_tokens=False)["input_ids"]
    return sum(ids == [vocabulary.get(s)] for ids, s in zip(encoded, spellings, strict=True))


def read_token_ids(path: Path) -> list[int]:
    """Read one token id a line; blank lines are skipped.

    Raises:
        BadInput: the file cannot be read, is empty, or has a line that is not an id.
    """
    lines = read_subjects(path)
    try:
        return [int(line) for line in lines]
    except ValueError as problem:
        raise BadInput(f"subjects.file: {path} must hold one token id a line ({problem})") from None


def read_subjects(path: Path) -> list[str]:
    """Read one subject a line; blank lines are skipped.

    Raises:
        BadInput: the file cannot be read, has no subject, or one that cannot be asked and stored.
    """
    try:
        lines = [line for line in read_lines(path) if line.strip()]
    except BadInput as problem:
        raise BadInput(f"subjects.file: {problem}") from None
    if not lines:
        raise BadInput(f"subjects.file: {path} is empty; give one subject a line")
    for line in lines:
        if fault := text_problem(line):
            raise BadInput(f"subjects.file: {path}: the subject {line!r} {fault}")
    return lines


def split_rows(
    texts: Sequence[str], rule: str, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into those to fit and those held out for testing; every row is in exactly one part.

    Args:
        texts: the subjects' texts, row by row.
        rule: "even-odd" as in the reference notebook (even rows are fitted), or "grouped": a seeded random
            half in which subjects with the same text but for blanks around it and its Unicode form (" Huang"
            and "Huang") are on the same side, so that nothing leaks from one side to the other.
        seed: of the grouped rule.

    Returns:
        Rows to fit and rows to test, int64, each sorted.

    Raises:
        BadInput: a side has fewer than two distinct texts: nothing can be fitted or scored.
    """
    rows = np.arange(len(texts))
    groups: dict[str, int] = {}
    group = np.array([groups.setdefault(same_form(text.strip()), len(groups)) for text in texts], np.int64)
    if rule == "even-odd":
        fit = rows % 2 == 0
    elif not len(texts):
        fit = rows < 0
    else:
        rank = np.random.default_rng(seed).permutation(len(groups))
        order = np.argsort(rank[group], kind="stable")
        # whole groups in random order until half of the rows are taken
        fit = rank[group] <= rank[group[order[(len(rows) - 1) // 2]]]
    distinct = [len(np.unique(group[side])) for side in (fit, ~fit)]
    if min(distinct) < 2:
        raise BadInput(
            f"subjects: {len(texts)} leave {distinct[0]} to fit and {distinct[1]} to test, "
            "each counted once; give at least two distinct ones for each"
        )
    return rows[fit], rows[~fit]
