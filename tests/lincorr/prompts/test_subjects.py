"""Which subjects are drawn, in which order, and how their rows are split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.prompts.subjects import (
    STRING,
    notebook_subjects,
    read_subjects,
    read_token_ids,
    round_trips,
    split_rows,
    string_subjects,
    token_subjects,
    vocabulary_subjects,
)
from lincorr.testing import toy_tokenizer

# Texts of which many agree once stripped, as " Huang" and "Huang" do.
TEXTS = st.lists(st.sampled_from(["a", " a", "b", " b", "c", "d", " d ", "e", "f", "g", "h"]), max_size=40)


def refusal(problem: pytest.ExceptionInfo[BadInput]) -> str:
    """The message, which must be one line."""
    message = str(problem.value)
    assert "\n" not in message
    return message


# --- drawing ------------------------------------------------------------------------------------------


def test_all_of_a_class_come_in_id_order(tokenizer: Any) -> None:
    subjects = vocabulary_subjects(tokenizer, None)
    assert np.all(np.diff(subjects.ids) > 0)
    assert set(subjects.classes) == {"text"}
    assert len(subjects) + sum(subjects.left_out.values()) == len(tokenizer)


@given(count=st.integers(0, 80), more=st.integers(0, 80), seed=st.integers(0, 5))
def test_a_larger_count_extends_a_smaller_one(count: int, more: int, seed: int) -> None:
    tokenizer = _TOKENIZER
    small = vocabulary_subjects(tokenizer, count, seed=seed)
    large = vocabulary_subjects(tokenizer, count + more, seed=seed)
    assert large.texts[:count] == small.texts
    assert len(set(large.ids.tolist())) == count + more


_TOKENIZER = toy_tokenizer()


def test_another_seed_draws_others(tokenizer: Any) -> None:
    first, second = (vocabulary_subjects(tokenizer, 50, seed=seed).ids for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_texts_and_ids_belong_together(tokenizer: Any) -> None:
    subjects = vocabulary_subjects(tokenizer, 50)
    assert list(subjects.texts) == [tokenizer.decode([i]) for i in subjects.ids]


def test_other_classes_only_when_asked_for(tokenizer: Any) -> None:
    subjects = vocabulary_subjects(tokenizer, None, classes=("special", "blank"))
    assert set(subjects.class_counts()) == {"special", "blank"}
    assert "text" in subjects.left_out


def test_more_than_there_are_is_refused(tokenizer: Any) -> None:
    with pytest.raises(BadInput) as problem:
        vocabulary_subjects(tokenizer, 10_000)
    assert refusal(problem).startswith("subjects.count: 10000 is more than the ")


def test_all_of_none_is_refused(tokenizer: Any) -> None:
    with pytest.raises(BadInput) as problem:
        vocabulary_subjects(tokenizer, None, classes=("added",))
    assert "0 tokens of class added" in refusal(problem)


def test_given_ids_are_kept_in_order_with_repeats(tokenizer: Any) -> None:
    ids = tokenizer.convert_tokens_to_ids(["ĠTokyo", "ĠParis", "ĠTokyo"])
    subjects = token_subjects(tokenizer, ids)
    assert subjects.texts == (" Tokyo", " Paris", " Tokyo")
    assert subjects.ids.tolist() == ids


@pytest.mark.parametrize("token", [-1, 10_000])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Any, token: int) -> None:
    with pytest.raises(BadInput) as problem:
        token_subjects(tokenizer, [0, token])
    assert refusal(problem).startswith(f"subjects.file: token id {token} ")


def test_strings_are_identified_by_their_text() -> None:
    subjects = string_subjects(["New York", "Rio"])
    assert subjects.identifiers() == [(STRING, "New York"), (STRING, "Rio")]
    assert subjects.class_counts() == {"string": 2}


# --- the notebook's way -------------------------------------------------------------------------------


def test_notebook_subjects_are_raw_spellings_with_replacement(tokenizer: Any) -> None:
    subjects = notebook_subjects(tokenizer, 2000)
    assert set(subjects.texts) <= set(tokenizer.get_vocab())
    assert len(set(subjects.texts)) < len(subjects)
    assert any(text.startswith("Ġ") for text in subjects.texts)


def test_notebook_subjects_are_the_same_in_every_process() -> None:
    """A tokenizer's vocabulary comes in another order from every copy of it."""
    first, second = (notebook_subjects(toy_tokenizer(), 50, seed=3).texts for _ in range(2))
    assert first == second


def test_round_trips_counts_spellings_that_are_their_own_token(tokenizer: Any) -> None:
    assert round_trips(tokenizer, ["Tokyo", "ĠTokyo", "Paris"]) == 2  # "Ġ" is a letter in plain text


# --- files --------------------------------------------------------------------------------------------


def test_blank_lines_of_a_file_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("3\n\n 5 \n")
    assert read_token_ids(path) == [3, 5]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_useless_file_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "subjects.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=says) as problem:
        read_subjects(path)
    assert refusal(problem).startswith("subjects.file: ")


def test_a_line_that_is_no_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("3\nTokyo\n")
    with pytest.raises(BadInput, match="'Tokyo'") as problem:
        read_token_ids(path)
    assert refusal(problem).startswith("subjects.file: ")


# --- splitting ----------------------------------------------------------------------------------------


def split_or_none(texts: list[str], rule: str, seed: int = 0) -> tuple[list[int], list[int]] | None:
    try:
        fit, test = split_rows(texts, rule, seed=seed)
    except BadInput:
        return None
    return fit.tolist(), test.tolist()


@given(TEXTS, st.sampled_from(["even-odd", "grouped"]), st.integers(0, 5))
def test_every_row_is_on_one_side(texts: list[str], rule: str, seed: int) -> None:
    sides = split_or_none(texts, rule, seed)
    if sides is not None:
        fit, test = sides
        assert fit == sorted(fit)
        assert test == sorted(test)
        assert sorted(fit + test) == list(range(len(texts)))
        assert min(len({texts[row].strip() for row in side}) for side in sides) >= 2


@given(TEXTS, st.integers(0, 5))
def test_equal_stripped_texts_are_on_one_side(texts: list[str], seed: int) -> None:
    sides = split_or_none(texts, "grouped", seed)
    if sides is not None:
        fit, test = ({texts[row].strip() for row in side} for side in sides)
        assert fit.isdisjoint(test)


@given(st.integers(4, 60))
def test_even_rows_fit_and_odd_rows_test(n: int) -> None:
    sides = split_or_none([str(i) for i in range(n)], "even-odd")
    assert sides == (list(range(0, n, 2)), list(range(1, n, 2)))


@given(st.integers(4, 60), st.integers(0, 5))
def test_distinct_subjects_are_halved(n: int, seed: int) -> None:
    sides = split_or_none([str(i) for i in range(n)], "grouped", seed)
    assert sides is not None
    assert len(sides[0]) == -(-n // 2)


def test_seed_decides_the_grouped_halves() -> None:
    texts = [str(i) for i in range(40)]
    assert split_or_none(texts, "grouped", 1) == split_or_none(texts, "grouped", 1)
    assert split_or_none(texts, "grouped", 1) != split_or_none(texts, "grouped", 2)


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        ([], "grouped"),
        ([], "even-odd"),
        (["a", "b", "c"], "even-odd"),
        (["a", "b", "c"], "grouped"),
        (["a", " a", "a ", "a"], "grouped"),
        (["a", "b", " a", "b "], "even-odd"),
    ],
)
def test_too_few_subjects_are_refused(texts: list[str], rule: str) -> None:
    with pytest.raises(BadInput) as problem:
        split_rows(texts, rule)
    assert refusal(problem).startswith(f"subjects: {len(texts)} leave ")
