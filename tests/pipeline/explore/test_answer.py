"""Questions and answers, against W computed from the stored logits by its textbook formula."""

from dataclasses import replace

import numpy as np
import pytest

from lincorr import LogitStore
from lincorr.model import load
from lincorr.scores.wordings import Wordings
from lincorr.store.maps import MapStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.settings import settings_of
from pipeline.explore.answer import answer
from pipeline.explore.opened import OpenedStore
from pipeline.explore.questions import Answer, Question, Refusal
from pipeline.prepare.prepare import prepare_relations
from pipeline.run import Run
from tests.pipeline.cli.toy import files_of
from tests.stores import array

TOKYO = Question("Tokyo", "toy", "vocabulary-ridge", top=200)
JAPAN = replace(TOKYO, word="Japan", target=True)


@pytest.fixture(scope="session")
def ridge(config, finished):
    """Ridge weights (V, V) between all tokens, for √λ/σ₁."""
    run = Run(config)
    rows = run.store().rows_of(run.inputs.subjects)[run.split()[0]]
    head = array(finished, "head/weight").astype(float)
    x, y = (array(finished, f"hidden/{name}").astype(float)[rows] @ head.T for name in ("city", "country"))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    gram = x @ x.T

    def weights(root):
        penalty = root**2 * np.linalg.eigvalsh(gram)[-1]
        return x.T @ np.linalg.solve(gram + penalty * np.eye(len(x)), y)

    return weights


@pytest.fixture
def links(opened):
    """The links of an answer: token -> weight."""

    def links(question):
        found = answer([opened], question)
        assert isinstance(found, Answer), found
        return {link.token: link.weight for link in found.links}, found

    return links


def ids_of(opened, words):
    return [opened.texts.index(f" {word}") for word in words]


@pytest.mark.parametrize("root", [0.02, 0.3])
@pytest.mark.parametrize("centred", [False, True])
def test_weights_at_any_penalty_are_those_of_ridge_regression(root, centred, opened, links, ridge):
    cities, countries = ids_of(opened, CITIES), ids_of(opened, COUNTRIES)
    W = ridge(root)
    if centred:
        W = W - W[:, countries].mean(axis=1, keepdims=True)
    asked = {"root_penalty": root, "centred": centred}
    tokyo, japan = cities[0], countries[0]
    row, _ = links(replace(TOKYO, **asked))
    assert row == pytest.approx({t: W[tokyo, t] for t in countries}, rel=1e-5, abs=1e-9)
    column, _ = links(replace(JAPAN, **asked))
    assert column == pytest.approx({s: W[s, japan] for s in cities}, rel=1e-5, abs=1e-9)
    for question, expected in (
        (replace(TOKYO, every=True, **asked), W[tokyo]),
        (replace(JAPAN, every=True, **asked), W[:, japan]),
        (replace(JAPAN, word="lives", every=True, **asked), W[:, opened.texts.index(" lives")]),
    ):
        found, one = links(question)
        assert one.of == len(opened.texts)
        strongest = np.argsort(-expected)[:200].tolist()
        assert found == pytest.approx({t: expected[t] for t in strongest}, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("fit", ["domain", "domain-ridge", "vocabulary", "vocabulary-ridge"])
def test_the_stored_map_is_read_where_no_penalty_is_asked(fit, opened, links, finished):
    stored = LogitStore.open(str(finished)).maps.load("toy", fit)
    tokyo, countries = ids_of(opened, CITIES)[0], ids_of(opened, COUNTRIES)
    row, found = links(replace(TOKYO, fit=fit, centred=False))
    assert row == pytest.approx(dict(stored.strongest_targets(tokyo, 10)))
    assert found.root_penalty == stored.diagnosis.root_penalty
    assert set(row) == set(countries)


def test_the_stored_map_is_one_of_its_path(links):
    stored, found = links(TOKYO)
    assert found.path is not None
    assert found.path.stored in (found.path.reading, found.path.best)
    near, _ = links(replace(TOKYO, root_penalty=found.path.stored * (1 + 1e-12)))
    assert near == pytest.approx(stored)


def test_right_answers_are_marked_wherever_they_rank(opened, links):
    for question, right in ((TOKYO, " Japan"), (JAPAN, " Tokyo")):
        _, found = links(replace(question, top=1))
        [one] = found.right
        _, all_of_them = links(question)
        ranked = [link.text for link in all_of_them.links]
        assert (one.text, one.right) == (right, True)
        assert ranked[one.rank - 1] == right
        assert [link.text for link in all_of_them.links if link.right] == [right]


@pytest.mark.parametrize(("top", "shown"), [(-1, 0), (0, 0), (3, 3), (10**30, 200)])
def test_no_more_links_are_shown_than_asked_for(top, shown, links):
    _, found = links(replace(TOKYO, every=True, top=top))
    assert len(found.links) == shown


def test_a_token_that_was_followed_counts_and_not_the_word(opened, links):
    paris = ids_of(opened, ["Paris"])[0]
    _, found = links(replace(TOKYO, token=paris))
    assert (found.token, found.text, found.note) == (paris, " Paris", None)


@pytest.mark.parametrize(("word", "note"), [("tokyo", None), ("Tokio", "no token 'Tokio'; showing ' Tokyo'")])
def test_words_are_matched_as_show_does(word, note, links):
    _, found = links(replace(TOKYO, word=word))
    assert (found.text, found.note) == (" Tokyo", note)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (replace(TOKYO, word="Tokiu"), "no source token 'Tokiu'"),
        (replace(TOKYO, word="lives", fit="domain"), "no source token"),
        (replace(TOKYO, every=True, fit="domain"), "no targets but the answers; choose a fit of the vocab"),
        (replace(JAPAN, every=True, fit="domain"), "no sources but the answers"),
        (replace(TOKYO, relation="none"), "'none' has no map"),
        (replace(TOKYO, fit="best"), "'best' of 'toy' is not stored"),
        (replace(TOKYO, fit="domain", root_penalty=0.1), "without a penalty; choose domain-ridge"),
        (replace(TOKYO, root_penalty=-1.0), "negative"),
        (replace(TOKYO, store=1), "no such store"),
    ],
)
def test_what_has_no_answer_is_refused_in_words(question, why, opened):
    found = answer([opened], question)
    assert isinstance(found, Refusal)
    assert why in found.refusal
    assert not found.near or "no source token" in found.refusal  # other words would not mend it


def test_words_near_are_offered(opened):
    found = answer([opened], replace(TOKYO, word="Tokiu"))
    assert isinstance(found, Refusal)
    assert " Tokyo" in found.near
    assert opened.suggest(replace(TOKYO, word="to"))[0] == " Tokyo"
    assert opened.suggest(replace(JAPAN, word="ger"))[0] == " Germany"


def test_the_chosen_wording_comes_first(config, monkeypatch):
    names = [(one.relation, one.chosen) for one in OpenedStore(config).name().maps]
    assert names == [("toy", False)]  # it has one wording
    monkeypatch.setattr("pipeline.explore.opened.prepare_relations", lambda _: _two_wordings(config))
    monkeypatch.setattr(MapStore, "fits", lambda *_: ["vocabulary-ridge"])
    monkeypatch.setattr("pipeline.explore.opened.wordings_of", lambda *_: [Wordings("toy", (), "toy.2")])
    names = [(one.relation, one.chosen) for one in OpenedStore(config).name().maps]
    assert names == [("toy.2", True), ("toy", False)]


def _two_wordings(config):
    [toy], texts = prepare_relations(config)
    return (toy, replace(toy, relation=replace(toy.relation, name="toy.2"))), texts


def test_a_map_of_other_subjects_has_no_path(config, finished):
    fewer = OpenedStore(settings_of(None, {"store.path": str(finished), "subjects.count": "40"}))
    found = answer([fewer], TOKYO)
    assert isinstance(found, Answer)
    assert found.path is None
    assert "other settings or subjects" in (found.no_path or "")


def test_nothing_is_written_and_no_weights_are_loaded(config, finished, monkeypatch):
    monkeypatch.setattr(load, "load_model", None)
    before = files_of(finished)
    answer([OpenedStore(config)], replace(TOKYO, root_penalty=0.1))
    assert files_of(finished) == before
