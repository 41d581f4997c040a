"""The shipped wordings: how many there are, that they differ, and that answers follow them as whole words."""

from collections import Counter

import pytest

from lincorr.model.files import ModelSpec, locate
from lincorr.model.load import load_tokenizer
from lincorr.prompts.columns import find_columns
from lincorr.prompts.trees import prompt_template
from lincorr.relations.relation import Side

LEAST = 5


@pytest.fixture(scope="module")
def asked(shipped):
    """Template name -> its texts in all wordings, of the templates that a shipped relation uses."""
    sides = [side for name in shipped.names() for side in sides_of(shipped, name)]
    return {
        side.template.name: [one.text for one in (side.template, *shipped.wordings[side.template.name])]
        for side in sides
    }


def sides_of(shipped, name: str) -> tuple[Side, Side]:
    relation = shipped.relation(name)
    return relation.source, relation.target


def test_every_template_in_use_has_five_wordings(asked):
    assert {name: len(texts) for name, texts in asked.items() if len(texts) < LEAST} == {}


def test_both_sides_of_a_relation_have_equally_many(shipped, asked):
    for name in shipped.names():
        source, target = sides_of(shipped, name)
        assert len(asked[source.template.name]) == len(asked[target.template.name]), name


def test_no_two_prompts_are_the_same(shipped):
    texts = Counter(" ".join(template.text.split()) for template in shipped.templates.values())
    assert [text for text, times in texts.items() if times > 1] == []


def test_wordings_of_a_template_take_answers_alike(shipped):
    for name, others in shipped.wordings.items():
        assert {other.gap for other in others} == {shipped.templates[name].gap}, name


def test_questions_end_where_the_answer_is_due(asked):
    for name, texts in asked.items():
        opened = [text for text in texts if "?" in text or "？" in text]
        assert len(opened) == (2 if len(texts) == 7 else 1), name  # wordings 5 and 7
        for text in opened:
            assert text.rstrip().removesuffix(" the").removesuffix(" a")[-1] in ":：", text


@pytest.mark.real_model
def test_answers_follow_every_wording_as_whole_words(shipped, real_model):
    """The tokens of a prompt and its answer in one text are those of the prompt, then those of the answer."""
    tokenizer = load_tokenizer(locate(ModelSpec(real_model)), trust_remote_code=False)
    [subject] = tokenizer.encode(" John", add_special_tokens=False)
    sides = {side.template.name: side for name in shipped.names() for side in sides_of(shipped, name)}
    for name, side in sides.items():
        known = find_columns(tokenizer, side.answers, side.template.gap).whole_name_ids()
        word, column = next(iter(known.items()), (side.answers[0], None))
        assert known or name.endswith(("-zh", "-ja"))  # whose words are several tokens of this model
        for template in (side.template, *shipped.wordings[name]):
            prompt = prompt_template(tokenizer, template.text).splice(subject)
            text = tokenizer.decode(prompt) + template.gap + word
            tokens = tokenizer.encode(text, add_special_tokens=False)
            assert tokens[: len(prompt)] == prompt, text
            assert column is None or tokens[len(prompt) :] == [column], text
