"""The first-word rule: which names of a domain have a token column."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from transformers import PreTrainedTokenizerFast

from lincorr.errors import BadInput
from lincorr.prompts.columns import Coverage, NoColumns, answer_columns, find_columns
from lincorr.testing import CITIES, COUNTRIES, sentencepiece_tokenizer, toy_tokenizer


@pytest.mark.parametrize("make", [toy_tokenizer, sentencepiece_tokenizer])
def test_each_known_name_has_its_token(make: Any) -> None:
    tokenizer = make()
    columns = answer_columns(tokenizer, CITIES, "cities")
    assert columns.names == CITIES
    assert columns.texts == tuple(f" {city}" for city in CITIES)
    assert tokenizer.batch_decode([[i] for i in columns.ids]) in (
        list(CITIES),
        [f" {city}" for city in CITIES],
    )
    assert all(columns.whole)
    assert columns.dropped == {}


def test_the_column_is_the_token_with_the_leading_space(tokenizer: Any) -> None:
    columns = answer_columns(tokenizer, ["Tokyo"], "cities")
    assert columns.ids.tolist() == [tokenizer.convert_tokens_to_ids("ĠTokyo")]


def test_a_longer_name_counts_by_its_first_word(tokenizer: Any) -> None:
    columns = answer_columns(tokenizer, ["Rome Fiumicino", "Paris"], "cities")
    assert columns.names == ("Rome Fiumicino", "Paris")
    assert columns.whole == (False, True)
    assert set(columns.whole_name_ids()) == {"Paris"}


def test_a_name_that_only_begins_with_a_token_is_dropped(tokenizer: Any) -> None:
    columns = answer_columns(tokenizer, ["Tokyoburg", "Paris"], "cities")
    assert columns.names == ("Paris",)
    assert columns.dropped == {"Tokyoburg": "its first word is not one token"}


@pytest.mark.parametrize("name", ["", "  "])
def test_a_blank_name_is_dropped(tokenizer: Any, name: str) -> None:
    assert answer_columns(tokenizer, [name, "Paris"], "cities").names == ("Paris",)


def test_of_two_long_names_with_one_token_the_first_stays(tokenizer: Any) -> None:
    columns = answer_columns(tokenizer, ["Rome North", "Rome South"], "cities")
    assert columns.names == ("Rome North",)
    assert columns.dropped == {"Rome South": "shares its token with 'Rome North'"}


@pytest.mark.parametrize("names", [["Rome North", "Rome"], ["Rome", "Rome North"]])
def test_a_whole_name_takes_the_column_from_a_longer_one(tokenizer: Any, names: list[str]) -> None:
    columns = answer_columns(tokenizer, names, "cities")
    assert columns.names == ("Rome",)
    assert columns.dropped == {"Rome North": "shares its token with 'Rome'"}


def test_ids_are_distinct_and_every_name_is_accounted_for(tokenizer: Any) -> None:
    names = [*CITIES, *COUNTRIES, "Peru Lima", "Xyzzy", "Tokyo Bay"]
    columns = answer_columns(tokenizer, names, "places")
    assert len(set(columns.ids.tolist())) == len(columns)
    assert sorted([*columns.names, *columns.dropped]) == sorted(names)


@pytest.mark.parametrize("names", [["Xyzzy", "Qwghlm"], []])
def test_a_list_without_any_column_is_refused(tokenizer: Any, names: list[str]) -> None:
    with pytest.raises(BadInput) as problem:
        answer_columns(tokenizer, names, "relations.0.source.answers")
    assert str(problem.value).startswith("relations.0.source.answers: ")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("make", [toy_tokenizer, sentencepiece_tokenizer])
def test_without_a_space_the_column_is_the_token_that_continues_the_text(make: Any) -> None:
    tokenizer = make()
    columns = answer_columns(tokenizer, ["5", "7"], "numbers", gap="")
    start = tokenizer.encode("X+1=", add_special_tokens=False)
    for token, text in zip(columns.ids, ("5", "7"), strict=True):
        assert tokenizer.encode("X+1=" + text, add_special_tokens=False) == [*start, token]
    assert columns.texts == columns.names == ("5", "7")
    assert all(columns.whole)


def test_a_chinese_name_is_one_word(tokenizer: Any) -> None:
    assert find_columns(tokenizer, ["北京", "5"], "").coverage() == Coverage(1, 0, 1)


def test_a_space_makes_another_token(tokenizer: Any) -> None:
    with_space = answer_columns(tokenizer, ["Tokyo"], "cities")
    assert find_columns(tokenizer, ["Tokyo"], "").ids.tolist() != with_space.ids.tolist()


def test_coverage_counts_every_name_by_its_first_word(tokenizer: Any) -> None:
    names = ["Rome", "Rome North", "Paris West", "Paris East", "Tokyoburg", "Xyzzy Rome", "Oslo"]
    coverage = answer_columns(tokenizer, names, "cities").coverage()
    # by the tokenizer itself: is the first word one token, and is that all?
    first = [len(tokenizer.encode(" " + name.split()[0], add_special_tokens=False)) == 1 for name in names]
    whole = [len(tokenizer.encode(" " + name, add_special_tokens=False)) == 1 for name in names]
    assert coverage == Coverage(sum(whole), sum(first) - sum(whole), len(names) - sum(first))
    assert coverage.answers == len(names)
    assert coverage.as_counts() == {"whole": 2, "phrase": 3, "subword": 2}


def test_a_list_without_any_column_is_all_subwords(tokenizer: Any) -> None:
    columns = find_columns(tokenizer, ["Xyzzy", "Qwghlm"], " ")
    assert columns.coverage() == Coverage(0, 0, 2)
    assert columns.ids.shape == (0,)
    with pytest.raises(NoColumns):
        answer_columns(tokenizer, ["Xyzzy"], "cities")


def test_names_of_several_tokens_count_where_their_first_token_is_theirs_alone(tokenizer: Any) -> None:
    names = ["Rome", "Paris West", "Oslo North", "Oslo South", "Tokyoburg", "Limaville", "Lima"]
    columns = answer_columns(tokenizer, names, "cities", multi_token=True)
    plain = answer_columns(tokenizer, names, "cities")
    # by the tokenizer itself: which tokens follow a text and begin no other name?
    tokens = {name: tokenizer.encode(f" {name}", add_special_tokens=False) for name in names}
    firsts = [ids[0] for ids in tokens.values()]
    alone = {name for name, ids in tokens.items() if firsts.count(ids[0]) == 1}
    assert alone == {"Rome", "Paris West", "Tokyoburg"}
    assert columns.names == ("Rome", "Paris West", "Oslo North", "Tokyoburg", "Lima")
    assert columns.counted_ids() == {
        name: tokens[name][0] for name in ("Rome", "Paris West", "Tokyoburg", "Lima")
    }
    assert columns.tokens == tuple(tuple(tokens[name]) for name in columns.names)
    assert set(plain.counted_ids()) == set(plain.whole_name_ids()) == {"Rome", "Lima"}
    assert set(plain.ids.tolist()) < set(columns.ids.tolist())
    assert columns.dropped["Limaville"] == (
        "its first word is not one token, and its first token begins another name, too"
    )
    assert columns.coverage() == plain.coverage() == Coverage(2, 3, 2)
    assert columns.longer_names() == {tokens[name][0]: f" {name}" for name in ("Paris West", "Tokyoburg")}
    assert plain.longer_names() == {}


@pytest.mark.parametrize("name", ["", "  "])
def test_a_blank_name_never_counts(tokenizer: Any, name: str) -> None:
    assert answer_columns(tokenizer, [name, "Paris"], "cities", multi_token=True).names == ("Paris",)


def uncased_tokenizer() -> Any:
    """A tokenizer like that of the first GPT: capitals and accents are gone before words are looked up."""
    words = ("a", "tokyo", "sao", "paulo", "lima", "lim", "東", "京", "[UNK]")
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


CAPITALS = ["Tokyo", "São Paulo", "LIMA", "Limao", "Oslo", "東京", "\u200b"]


def test_capitals_that_a_tokenizer_does_not_tell_apart_do_not_matter() -> None:
    columns = answer_columns(uncased_tokenizer(), CAPITALS, "cities")
    assert columns.ids.tolist() == [1, 2, 4]
    assert columns.names == ("Tokyo", "São Paulo", "LIMA")
    assert columns.whole == (True, False, True)
    assert set(columns.dropped.values()) == {"its first word is not one token"}
    assert columns.coverage() == Coverage(whole=2, phrase=1, subword=4)


def test_capitals_that_a_tokenizer_tells_apart_matter(tokenizer: Any) -> None:
    assert answer_columns(tokenizer, ["tokyo", "Paris"], "cities").names == ("Paris",)


def test_a_name_that_has_a_token_together_with_the_word_before_it_has_its_own() -> None:
    """As with SuperBPE, whose tokens are phrases."""
    merges = [("b", "i"), ("bi", "g"), ("Ġ", "big"), ("a", "Ġbig")]
    pieces = [*"abgilnow", "Ġ", *("".join(pair) for pair in merges)]
    phrases = Tokenizer(BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    phrases.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    phrases.decoder = decoders.ByteLevel()
    columns = answer_columns(PreTrainedTokenizerFast(tokenizer_object=phrases), ["big", "low"], "sizes")
    assert (columns.texts, columns.ids.tolist()) == ((" big",), [pieces.index("Ġbig")])
