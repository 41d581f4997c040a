"""A digest of what a tokenizer does: its files alone do not say it.

Settings beside them, and the version of transformers that reads them, change the tokens of a text, too.
"""

import hashlib
import json
from typing import Any

from lincorr.prompts.tokens import Tokenizer, encode, normalized

# Texts that tokenizers are known to split differently. They are part of every store: a change of one would
# have stores refuse their own model.
_PROBES = (
    "Paris lives in the city of",
    " the capital of  France is   'Paris'",
    "It's they'RE I'll we'd 'The 'tIS",
    "camelCase HTTPServer iPhone McDonald",
    "0 12 345 6789 12345678 3.14 1,000 2nd",
    "a\tb\nc\n\nd\r\ne   \n  f ",
    " ",
    "  ",
    "\n",
    "!!! ... (a) [b] {c} <d> #e @f $g %h ^i &j *k _l_ =m+ ~n` |o\\ /p",
    "https://example.org/?q=1&r=2 name@example.org",
    "caf\u00e9 cafe\u0301 na\u00efve Stra\u00dfe \u0130stanbul \ufb01n",
    "\uff21\uff22\uff13 \u2126 \u00bd \u00b2 \u2019s \u2014 \u00a0 \u200b\u2028",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u0391\u03b8\u03ae\u03bd\u03b1",
    "\u05d9\u05e8\u05d5\u05e9\u05dc\u05d9\u05dd \u0627\u0644\u0642\u0627\u0647\u0631\u0629",
    "\u0926\u093f\u0932\u094d\u0932\u0940 \u0e01\u0e23\u0e38\u0e07",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd \uc11c\uc6b8\uc740 \u5317\u4eac",
    "\U0001f469\u200d\U0001f52c\U0001f1eb\U0001f1f7 \U00020000 \u0007",
    "<s> </s> <pad> <|endoftext|> [INST] <0x41>",
)


def tokenization(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of what the tokenizer does, in hexadecimal.

    Covers its vocabulary, its special and added tokens, and some texts: the pieces that it splits them into,
    their tokens with and without what it puts around a text, and what these decode to.
    """
    added = {int(i): token for i, token in tokenizer.added_tokens_decoder.items()}
    probes = [*_PROBES, *(f"a{token.content}b {token.content} c" for token in added.values())]
    plain = [encode(tokenizer, text) for text in probes]
    does: dict[str, Any] = {
        "vocabulary": sorted((int(i), repr(token)) for token, i in tokenizer.get_vocab().items()),
        "special": sorted(i for i in tokenizer.all_special_ids if i is not None),  # of "": none
        "added": sorted((i, token.content, token.special) for i, token in added.items()),
        "pieces": [_pieces(tokenizer, text) for text in probes],
        "plain": plain,
        "whole": [list(tokenizer.encode(text, add_special_tokens=True)) for text in probes],
        "decoded": tokenizer.batch_decode(
            plain, skip_special_tokens=False, clean_up_tokenization_spaces=False
        ),
    }
    return hashlib.sha256(json.dumps(does).encode()).hexdigest()


def _pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    """Split a text as the tokenizer does before it looks words up; none where it does not say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.pre_tokenizer is None:
        return []
    pieces = backend.pre_tokenizer.pre_tokenize_str(normalized(tokenizer, text))
    return [piece for piece, _ in pieces]
