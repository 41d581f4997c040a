"""Surface texts, classes and special prefixes, on a byte-level and on a SentencePiece-like tokenizer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from lincorr.prompts.tokens import encode, leading_specials, token_classes, token_texts
from lincorr.testing import CITIES, sentencepiece_tokenizer, toy_tokenizer

BYTE_LEVEL = toy_tokenizer()
SENTENCEPIECE = sentencepiece_tokenizer()


def class_of(tokenizer: Any, spelling: str) -> str:
    classes = token_classes(tokenizer, token_texts(tokenizer))
    token: int = tokenizer.convert_tokens_to_ids(spelling)
    return str(classes[token])


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("<s>", "special"),
        ("</s>", "special"),
        ("ĠTokyo", "text"),
        ("Tokyo", "text"),
        (".", "text"),
        ("Ġ", "blank"),  # a space
        ("Ċ", "blank"),  # a line feed
        ("Ã", "byte"),  # 0xC3, the first half of "é"
        ("©", "byte"),  # 0xA9, the second
    ],
)
def test_class_of_byte_level_tokens(spelling: str, expected: str) -> None:
    assert class_of(BYTE_LEVEL, spelling) == expected


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("<unk>", "special"),
        ("▁Tokyo", "text"),
        ("T", "text"),
        ("▁", "blank"),
        ("<0x0A>", "blank"),
        ("<0xC3>", "byte"),
    ],
)
def test_class_of_sentencepiece_tokens(spelling: str, expected: str) -> None:
    assert class_of(SENTENCEPIECE, spelling) == expected


def test_added_tokens_are_told_from_special_ones() -> None:
    tokenizer = toy_tokenizer()
    tokenizer.add_tokens(["<tool>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    assert class_of(tokenizer, "<tool>") == "added"
    assert class_of(tokenizer, "<turn>") == "special"


def test_every_token_has_one_text_and_one_class() -> None:
    texts = token_texts(BYTE_LEVEL)
    assert len(texts) == len(token_classes(BYTE_LEVEL, texts)) == len(BYTE_LEVEL)


def test_byte_level_texts_are_what_each_token_decodes_to() -> None:
    assert token_texts(BYTE_LEVEL) == [BYTE_LEVEL.decode([i]) for i in range(len(BYTE_LEVEL))]


@pytest.mark.parametrize("city", CITIES)
def test_leading_space_is_kept_where_the_decoder_drops_it(city: str) -> None:
    token = SENTENCEPIECE.convert_tokens_to_ids(f"▁{city}")
    assert SENTENCEPIECE.decode([token]) == city
    assert token_texts(SENTENCEPIECE)[token] == f" {city}"


@pytest.mark.parametrize("bos", [False, True])
def test_bos_by_the_tokenizers_own_rule(bos: bool) -> None:
    tokenizer = toy_tokenizer(bos=bos)
    assert leading_specials(tokenizer) == ((tokenizer.bos_token_id,) if bos else ())


def test_what_stands_behind_a_text_is_left_out() -> None:
    tokenizer = toy_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert tokenizer("a")["input_ids"][-1] == 1
    assert leading_specials(tokenizer) == (0,)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_prefix_and_text_make_the_tokenizers_own_encoding(text: str) -> None:
    own = SENTENCEPIECE(text)["input_ids"]
    assert [*leading_specials(SENTENCEPIECE), *encode(SENTENCEPIECE, text)] == own


@pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, SENTENCEPIECE])
def test_texts_decoded_at_once_are_those_decoded_one_by_one(tokenizer: Any) -> None:
    before = tokenizer.encode("a", add_special_tokens=False)[:1]
    texts = [tokenizer.decode([*before, token]) for token in range(len(tokenizer))]
    assert token_texts(tokenizer) == [text[len(tokenizer.decode(before)) :] for text in texts]


def test_a_tokenizer_that_decodes_in_its_own_way_is_asked() -> None:
    tokenizer = toy_tokenizer()

    class Loud(type(tokenizer)):  # type: ignore[misc]
        def _decode(self, *args: Any, **kwargs: Any) -> str:
            return str(super()._decode(*args, **kwargs)).upper()

    tokenizer.__class__ = Loud
    texts = token_texts(BYTE_LEVEL)
    assert token_texts(tokenizer) == [text.upper() for text in texts]
    assert token_texts(tokenizer) != texts
