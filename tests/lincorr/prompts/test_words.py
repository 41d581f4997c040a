"""Words and the tokens that they mean; distances against the textbook recursion."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.prompts.words import Match, match_typo, match_word, nearest, without_accents

TEXTS = [" Tokyo", "Tokyo", " tokyo", " São", "sao", " Kyoto", " İzmir", " 東京", "<s>", "\n"]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("Tokyo", " Tokyo"),
        (" Tokyo", " Tokyo"),
        ("tokyo", " tokyo"),
        ("TOKYO", " Tokyo"),
        ("KYOTO", " Kyoto"),
        ("sao", "sao"),
        ("são", " São"),
        ("東京", " 東京"),
        ("<s>", "<s>"),
        ("\n", "\n"),
    ],
)
def test_capitals_and_spaces_do_not_matter(word, found):
    assert match_word(word, TEXTS) == Match(found, same=True)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("café", " café"),
        ("cafe\u0301", " café"),  # as macOS writes names of files
        ("CAFE\u0301", " café"),
        ("re\u0301sume\u0301", "re\u0301sume\u0301"),  # there are both: the exact one
        ("résumé", "résumé"),
        ("A\u030angstrom", "\u212bngstrom"),
    ],
)
def test_it_does_not_matter_how_an_accent_was_typed(word, found):
    texts = [" cafe", " café", "résumé", "re\u0301sume\u0301", "\u212bngstrom"]
    assert match_word(word, texts) == Match(found, same=True)


@pytest.mark.parametrize(("word", "found"), [("Sâo", " São"), ("Izmir", " İzmir"), ("Kyōto", " Kyoto")])
def test_accents_do_not_matter_but_are_told(word, found):
    assert match_word(word, TEXTS) == Match(found, same=False)


def test_the_first_of_equals_is_found():
    assert match_word("ROME", [" Rome", " rome", "Rome"]) == Match(" Rome", same=True)
    assert match_word("Oslo", ["oslo", "Oslo"]) == Match("Oslo", same=True)


@pytest.mark.parametrize("word", ["Tokio", "Nowhere", "", " "])
def test_what_is_no_token_matches_nothing(word):
    assert match_word(word, TEXTS) is None


@pytest.mark.parametrize(
    ("word", "found"),
    [("Tokio", " Tokyo"), ("tokoy", " Tokyo"), ("Tkyo", " Tokyo"), ("Johanesbourg", " Johannesburg")],
)
def test_a_slip_of_the_pen(word, found):
    assert match_typo(word, [" Tokyo", " Berlin", " Johannesburg"]) == Match(found, same=False)


@pytest.mark.parametrize("word", ["Tok", "Tokiu", "Ber", "xyzzyx"])
def test_what_is_too_far_or_too_short_is_no_slip(word):
    assert match_typo(word, [" Tokyo", " Berlin"]) is None


def test_two_that_are_as_near_are_not_clear():
    assert match_typo("Lama", [" Lima", " Lamu"]) is None
    assert match_typo("Lima", [" Lamas", " Limas"]) == Match(" Limas", same=False)


@given(st.text("abc", min_size=4, max_size=9), st.lists(st.text("abc", min_size=1, max_size=9), max_size=6))
def test_a_slip_is_the_nearest_by_the_textbook_distance(word, texts):
    distances = sorted((osa(word, text), text) for text in set(texts))
    near = [text for distance, text in distances if distance == distances[0][0] <= len(word) // 4]
    found = match_typo(word, texts)
    assert (found.text if found else None) == (near[0] if len(near) == 1 else None)


def osa(a: str, b: str) -> int:
    """Optimal string alignment, by its recursion."""

    @cache
    def distance(i: int, j: int) -> int:
        if min(i, j) == 0:
            return max(i, j)
        least = min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )
        if min(i, j) > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            least = min(least, distance(i - 2, j - 2) + 1)
        return least

    return distance(len(a), len(b))


def test_the_nearest_come_first_and_unlike_ones_not_at_all():
    assert nearest("Tokyu", TEXTS) == [" Tokyo"]
    assert nearest("Kyotoo", [" Kyoto", " Kyotos", " Kiel"]) == [" Kyoto", " Kyotos"]
    assert nearest("qqqq", TEXTS) == []


def test_accents():
    assert [without_accents(text) for text in ("São", "Zürich", "ẞ", "Łódź")] == [
        "sao",
        "zurich",
        "ss",
        "łodz",
    ]
