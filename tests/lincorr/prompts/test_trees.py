"""Prompts by splicing token ids, against the tokenizer's own way with the whole text; and batches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.prompts.subjects import STRING
from lincorr.prompts.trees import (
    PromptTemplate,
    batches,
    group_templates,
    merge_prompts,
    prompt_ids,
    prompt_template,
    trunk_of,
)
from lincorr.testing import CITIES, COUNTRIES, sentencepiece_tokenizer, toy_tokenizer

TEMPLATES = [
    "{} lives in the city of",
    "The capital of {} is",
    "{}'s language is",
    "Near {}, people live in",
    "City: {}",
    "{}+1=",
    "{}所居住的城市是",
    "用户{}の仕事は",
]
TOKENIZERS = {
    "byte-level": (toy_tokenizer(), "Ġ"),
    "byte-level with BOS": (toy_tokenizer(bos=True), "Ġ"),
    "sentencepiece": (sentencepiece_tokenizer(), "▁"),
}


@pytest.fixture(params=TOKENIZERS)
def spaced(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A tokenizer, and how it spells a leading space."""
    return TOKENIZERS[request.param]


@pytest.mark.parametrize("text", TEMPLATES)
def test_splicing_a_word_is_tokenising_the_text(spaced: tuple[Any, str], text: str) -> None:
    tokenizer, space = spaced
    template = prompt_template(tokenizer, text)
    for word in (*CITIES, *COUNTRIES):
        whole = text.replace(" {}", "{}").replace("{}", f" {word}")
        if space == "▁":
            whole = whole.lstrip()  # SentencePiece itself puts a space before a text
        token = tokenizer.convert_tokens_to_ids(space + word)
        assert template.splice(token) == tokenizer(whole)["input_ids"]


def test_whitespace_before_the_slot_is_dropped(tokenizer: Any) -> None:
    one, two = (prompt_template(tokenizer, f"of{gap}{{}} is") for gap in (" ", "  "))
    assert one.before == two.before


def test_a_template_may_end_with_its_slot(tokenizer: Any) -> None:
    assert prompt_template(tokenizer, "City: {}").after == ()


@pytest.mark.parametrize("bos", [False, True])
def test_prompt_begins_by_the_tokenizers_own_rule(bos: bool) -> None:
    tokenizer = toy_tokenizer(bos=bos)
    prompt = prompt_template(tokenizer, "{} lives in").splice(5)
    assert (prompt[0] == tokenizer.bos_token_id) is bos
    assert prompt.count(tokenizer.bos_token_id) == int(bos)


def test_spliced_prompts_have_one_length(tokenizer: Any) -> None:
    template = prompt_template(tokenizer, TEMPLATES[0])
    assert len({len(template.splice(token)) for token in range(len(tokenizer))}) == 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_strings_are_tokenised_with_the_template(subject: str) -> None:
    tokenizer, _ = TOKENIZERS["byte-level with BOS"]
    template = prompt_template(tokenizer, "The capital of {} is")
    [ids] = prompt_ids(tokenizer, template, [STRING], [subject])
    assert ids == tokenizer(f"The capital of {subject} is")["input_ids"]


def test_tokens_and_strings_may_be_mixed(tokenizer: Any) -> None:
    template = prompt_template(tokenizer, "{} lives in")
    token = tokenizer.convert_tokens_to_ids("ĠTokyo")
    spliced, tokenised = prompt_ids(tokenizer, template, [token, STRING], [" Tokyo", "Tokyo"])
    assert spliced == template.splice(token)
    assert tokenised == tokenizer("Tokyo lives in")["input_ids"]


def test_text_that_merges_with_every_word_is_refused() -> None:
    merging = toy_tokenizer([f"{probe}x" for probe in ("Paris", "one", "Anna", "the", "Tom", "A")])
    with pytest.raises(BadInput) as problem:
        prompt_template(merging, "of {}x")
    assert str(problem.value).startswith("template 'of {}x': ")
    assert "\n" not in str(problem.value)


PROMPTS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=40)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_tree_holds_its_prompts(prompts: list[list[int]]) -> None:
    tree = merge_prompts(prompts)
    visible, depths = tree.shape.visible(), tree.shape.depths()
    for prompt, end in zip(prompts, tree.shape.ends, strict=True):
        seen = np.flatnonzero(visible[end])
        assert [tree.tokens[place] for place in seen] == prompt
        assert depths[seen].tolist() == list(range(len(prompt)))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_tree_has_every_beginning_once(prompts: list[list[int]]) -> None:
    beginnings = {tuple(prompt[: n + 1]) for prompt in prompts for n in range(len(prompt))}
    assert len(merge_prompts(prompts).tokens) == len(beginnings)


@pytest.mark.parametrize(
    ("prompts", "chain"), [([[1, 2, 3]], True), ([[1, 2], [1, 2]], True), ([[1], [2]], False)]
)
def test_one_prompt_is_a_chain(prompts: list[list[int]], chain: bool) -> None:
    assert merge_prompts(prompts).shape.is_chain is chain


@given(PROMPTS, st.integers(1, 9))
def test_every_prompt_comes_once_and_every_batch_is_full(prompts: list[list[int]], size: int) -> None:
    seen: list[int] = []
    for batch in batches([merge_prompts([prompt]) for prompt in prompts], 1000, size):
        rows, ids = batch.rows, batch.ids
        assert ids.shape == (size, len(prompts[rows[0]]))
        assert 0 < len(rows) <= size
        assert [prompts[row] for row in rows] == ids[: len(rows)].tolist()
        assert all(filling in ids[: len(rows)].tolist() for filling in ids[len(rows) :].tolist())
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(prompts)))


@given(PROMPTS, st.integers(1, 9))
def test_no_more_batches_than_lengths_need(prompts: list[list[int]], size: int) -> None:
    _, counts = np.unique([len(prompt) for prompt in prompts], return_counts=True)
    trees = [merge_prompts([prompt]) for prompt in prompts]
    assert len(list(batches(trees, 1000, size))) == int(np.ceil(counts / size).sum())


@given(PROMPTS, st.integers(1, 200), st.booleans())
def test_batches_keep_to_the_budget(prompts: list[list[int]], budget: int, free_text: bool) -> None:
    trees = [merge_prompts([prompt]) for prompt in prompts]
    for batch in batches(trees, budget, 16, free_text=free_text):
        rows, length = batch.ids.shape
        assert rows & (rows - 1) == 0  # a power of two, so that it divides a shard
        assert rows == 1 or (rows <= 16 and rows * length * (4 if free_text else 1) <= budget)
        assert rows == 16 or 2 * rows * length * (4 if free_text else 1) > budget


SUBJECT = 9
LATE = st.lists(
    st.tuples(st.lists(st.integers(0, 2), max_size=4), st.lists(st.integers(0, 2), max_size=3)),
    min_size=1,
    max_size=5,
)


def late_templates(sides: list[tuple[list[int], list[int]]]) -> list[PromptTemplate]:
    return [PromptTemplate(tuple(before), tuple(after), "") for before, after in sides]


@given(LATE)
def test_trees_on_a_trunk_hold_their_prompts(sides: list[tuple[list[int], list[int]]]) -> None:
    templates = late_templates(sides)
    trunk = trunk_of(templates)
    prompts = [template.splice(SUBJECT) for template in templates]
    tree = merge_prompts(prompts, trunk)
    whole = [*trunk.tokens, *tree.tokens]
    visible = tree.shape.visible()
    for prompt, end in zip(prompts, tree.shape.ends, strict=True):
        assert [whole[place] for place in np.flatnonzero(visible[end])] == prompt
        assert end >= len(trunk.tokens)


@given(LATE)
def test_a_trunk_takes_what_does_not_depend_on_the_subject(sides: list[tuple[list[int], list[int]]]) -> None:
    templates = late_templates(sides)
    trunk = trunk_of(templates)
    beginnings = {tuple(before[: n + 1]) for before, _ in sides for n in range(len(before))}
    assert len(trunk.tokens) == len(beginnings)
    tree = merge_prompts([template.splice(SUBJECT) for template in templates], trunk)
    whole = merge_prompts([template.splice(SUBJECT) for template in templates])
    assert len(tree.tokens) + len(trunk.tokens) == len(whole.tokens)
    assert tree.shape.own_tokens == len(tree.tokens)


def test_a_free_text_prompt_may_end_within_the_trunk() -> None:
    """Its last state is asked for all the same."""
    trunk = trunk_of([PromptTemplate((1, 2, 3), (5,), "")])
    tree = merge_prompts([[1, 2], [1, 2, 3, 4, 5]], trunk)
    assert tree.shape.ends[0] >= len(trunk.tokens)
    whole, visible = [*trunk.tokens, *tree.tokens], tree.shape.visible()
    assert [whole[place] for place in np.flatnonzero(visible[tree.shape.ends[0]])] == [1, 2]


def test_templates_that_begin_alike_are_asked_together() -> None:
    templates = {
        f"{first}{last}": PromptTemplate((), (first,) * 30 + (last,), "")
        for first in (7, 5)
        for last in range(3)
    } | {f"other {n}": PromptTemplate((), (20 + n,) * 40, "") for n in range(4)}
    groups = group_templates(templates)
    assert sorted(name for group in groups for name in group) == sorted(templates)
    for group in groups:
        tree = merge_prompts([templates[name].splice(1) for name in group])
        assert len(tree.tokens) <= 128
    together = {name: i for i, group in enumerate(groups) for name in group}
    assert together["50"] == together["51"] == together["52"]
    assert together["70"] == together["71"] == together["72"]
    assert len(groups) == 2


def test_a_template_too_large_for_a_tree_is_asked_by_itself() -> None:
    templates = {"long": PromptTemplate((), (1,) * 300, ""), "short": PromptTemplate((), (1, 2), "")}
    assert sorted(map(sorted, group_templates(templates))) == [["long"], ["short"]]
