"""Templates, and what stands between a prompt and its answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.relations.relation import Template
from tests.lincorr.relations.catalogue_files import one_line, refusal, write


def test_a_template_splits_at_its_slot():
    template = Template("color", "The color of {} is")
    assert (template.before, template.after) == ("The color of ", " is")


@given(before=st.text(st.characters(exclude_characters="{}")), after=st.text("abc .?"))
def test_before_and_after_give_the_text_back(before, after):
    template = Template("t", f"{before}{{}}{after}")
    assert (template.before, template.after) == (before, after)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lives in the city of", "has no slot"),
        ("", "has no slot"),
        ("{name} lives in the city of", "named slot '{name}'"),
        ("{0} lives in the city of", "named slot '{0}'"),
        ("{} and {} live in the city of", "has 2 slots"),
        ("{} lives in {", "brace"),
    ],
)
def test_a_template_without_exactly_one_plain_slot_is_refused(tmp_path, text, problem):
    with pytest.raises(BadInput) as caught:
        Template("home", text)
    one_line(caught.value, "'home'", repr(text), problem)

    path = write(tmp_path / "own.yaml", f"templates: {{home: {json.dumps(text)}}}")
    if text:
        refusal(path, "templates.home", repr(text), problem)
    else:
        refusal(path, "templates.home", "is not text")


# What stands between a prompt and its answer


@pytest.mark.parametrize(
    "text",
    [
        "{} lives in the city of",
        "the food: {} has:",
        "{} vit à",
        "{}'s pet is",
        "What of {}?",
        "{} 5",
        "X {}",
        "{}가 사는 도시는",
    ],
)
def test_a_space_stands_before_an_answer(text):
    assert Template("t", text).gap == " "


@pytest.mark.parametrize(
    "text",
    ["{}+1=", "{}所居住的城市是", "{}の仕事は", "{}：", "{} (", "{} lives in ", "{} is non-", "{} อยู่ที่"],
)
def test_no_space_stands_before_an_answer_where_none_is_written(text):
    assert Template("t", text).gap == ""
