"""What is asked of a tokenizer: token ids of a text, special prefix, surface texts and classes of tokens."""

from collections.abc import Sequence
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

Tokenizer = Any  # a Hugging Face tokenizer; transformers publishes no type for all of them

TokenClass = Literal["text", "blank", "byte", "added", "special"]
TOKEN_CLASSES: tuple[TokenClass, ...] = get_args(TokenClass)

_texts: WeakKeyDictionary[Tokenizer, tuple[int, list[str]]] = WeakKeyDictionary()  # with their number

_PLAIN = "transformers.tokenization_utils"  # modules of the ways that leave all to the backend

REPLACEMENT = "\ufffd"  # what undecodable bytes decode to


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids of `text` alone, without any special tokens around it."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def normalized(tokenizer: Tokenizer, text: str) -> str:
    """Return a text as the tokenizer looks it up: without capitals, say. As it is where it does not say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.normalizer is None:
        return text
    return str(backend.normalizer.normalize_str(text))


def token_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text alone; many texts are tokenised at once."""
    return (
        [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []
    )


def leading_specials(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the ids that the tokenizer's own rule puts before a text: often one BOS, often none.

    Ids that it would put after the text (an EOS) are left out, since the next token is what we ask for.
    """
    plain = encode(tokenizer, "a")
    whole = list(tokenizer.encode("a", add_special_tokens=True))
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start])
    return ()


def token_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the tokenizer knows, in order; some vocabularies have gaps."""
    return sorted({*tokenizer.get_vocab().values(), *tokenizer.added_tokens_decoder})


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Return the surface text of every token, by id, with its leading space; "" for ids in a gap.

    Each token is decoded after an anchor token, since SentencePiece decoders drop the leading space
    of whatever comes first. A tokenizer's texts are decoded once: a run asks for them several times.
    """
    known, texts = _texts.get(tokenizer, (0, []))
    if known != len(tokenizer):
        texts = _decoded(tokenizer)
        _texts[tokenizer] = (len(tokenizer), texts)
    return list(texts)


def told_apart(texts: Sequence[str]) -> list[str]:
    """Return the texts of all tokens, by id; behind those that look alike is the id: "\ufffd (token 184)".

    Bytes that are no character by themselves do, and tokens without any text.
    """
    return [
        f"{text or '∅'} (token {token})" if REPLACEMENT in text or not text else text
        for token, text in enumerate(texts)
    ]


def _decoded(tokenizer: Tokenizer) -> list[str]:
    anchor = encode(tokenizer, "a")[0]
    ids = token_ids(tokenizer)
    pairs = [[anchor, token] for token in ids]
    texts = [""] * (ids[-1] + 1)
    alone, *decoded = _decode_all(tokenizer, [[anchor], *pairs])
    for token, text in zip(ids, decoded, strict=True):
        texts[token] = text[len(alone) :]
    return texts


def _decode_all(tokenizer: Tokenizer, sequences: list[list[int]]) -> list[str]:
    """Decode lists of token ids as they are: at once, unless the tokenizer has a way of its own."""
    ways = [getattr(type(tokenizer), name, None) for name in ("batch_decode", "decode", "_decode")]
    if all(getattr(way, "__module__", "").startswith(_PLAIN) for way in ways):
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:  # a fifth of the time of calling transformers for each
            return list(backend.decode_batch(sequences, skip_special_tokens=False))
    return list(
        tokenizer.batch_decode(sequences, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )


def token_classes(tokenizer: Tokenizer, texts: list[str]) -> list[TokenClass | None]:
    """Classify every token, by id; None for ids in a gap.

    special: a control token (BOS, EOS, padding); added: any other token added after the learned
    vocabulary; byte: a fragment that is not valid text by itself; blank: whitespace or empty; text: the rest.
    """
    added = tokenizer.added_tokens_decoder
    special = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}

    known = set(token_ids(tokenizer))

    def classify(token: int) -> TokenClass | None:
        if token not in known:
            return None
        if token in special:
            return "special"
        if token in added:
            return "added"
        if REPLACEMENT in texts[token]:
            return "byte"
        return "text" if texts[token].strip() else "blank"

    return [classify(token) for token in range(len(texts))]
