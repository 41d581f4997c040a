"""What a relation's model is asked outright: prompts, and the examples before them."""

import pytest

from lincorr.relations.asked import Question, questions_of
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Relation, Side, Template
from tests.lincorr.relations.catalogue_files import OWN, refusal, write

SOURCES = ("Delhi", "Ulan Bator", "Mumbai", "Bangkok", "Oslo", "Bergen")
TRUTH = (
    ("Oslo", "Norway"), ("Bangkok", "Siam"), ("Bangkok", "Thailand"), ("Ulan Bator", "Mongolia"),
    ("Mumbai", "India"), ("Delhi", "India"), ("Bergen", "Norway"),
)  # fmt: skip


def relation(*asked: str, end: str = "of") -> Relation:
    source = Side(Template("city", "{} lives in"), SOURCES)
    target = Side(Template("country", f"{{}} is {end}"), ("India", "Thailand", "Norway", "Mongolia"))
    return Relation("city-country", "test", source, target, TRUTH, asked)


def test_examples_are_prominent_pairs_that_are_not_scored_and_differ_in_their_targets():
    scored, columns, answers = (
        {"Delhi", "Oslo"},
        {"Delhi", "Oslo", "Bangkok"},
        {"India", "Thailand", "Norway"},
    )
    alone, after = questions_of(relation("{} is in"), scored, columns, answers)
    assert alone == Question("{} is in")
    # not Ulan Bator, whose target is no column; Mumbai and Bergen have no column, and come before Bangkok
    assert after.examples == (("Mumbai", "India"), ("Bergen", "Norway"))
    assert after.text == "Mumbai is in India. Bergen is in Norway. {} is in"


def test_scored_pairs_are_told_only_where_there_are_no_others():
    every = set(SOURCES)
    _, after = questions_of(relation("{} is in"), every, every, {"India", "Thailand"})
    assert after.examples == (("Delhi", "India"), ("Bangkok", "Thailand"))
    # one right target alone, or nobody left to score: no examples
    assert len(questions_of(relation("{} is in"), every, every, {"India"})) == 1
    assert len(questions_of(relation("{} is in"), {"Bangkok"}, every, {"India", "Thailand"})) == 1


def test_sentences_end_as_their_script_does():
    question = Question("{}的中文名称是", (("Tokyo", "东京"), ("Paris", "巴黎")))
    assert question.text == "Tokyo的中文名称是东京。Paris的中文名称是巴黎。{}的中文名称是"
    assert Question("{}+1=", (("1", "2"),)).text == "1+1=2. {}+1="


def test_a_prompt_that_sets_its_answer_off_otherwise_is_not_asked():
    assert questions_of(relation("{} = ", end="in"), {"Delhi"}, {"Delhi"}, {"India"}) == []


def test_a_users_relation_may_be_asked_outright(tmp_path):
    text = OWN + '    asked: ["The sound of a {} is", "A {} says"]\n'
    found = load_catalogue([write(tmp_path / "own.yaml", text)]).relation("pet-sound")
    assert found.asked == ("The sound of a {} is", "A {} says")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("A pet says", ["relations.pet-sound.asked", "not a list"]),
        ('["A pet says"]', ["relations.pet-sound.asked", "has no slot"]),
        ('["{} says ("]', ["relations.pet-sound.asked", "a space", "end alike"]),
    ],
)
def test_a_mistake_in_what_is_asked_is_named(tmp_path, asked, words):
    refusal(write(tmp_path / "own.yaml", OWN + f"    asked: {asked}\n"), *words)


def test_what_is_asked_needs_a_truth(tmp_path):
    text = "\n".join(line for line in OWN.splitlines() if "truth" not in line)
    refusal(write(tmp_path / "own.yaml", f'{text}\n    asked: ["{{}} says"]\n'), "asked", "add truth")
