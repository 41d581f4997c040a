"""Turn the names of a domain (cities, countries) into token columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.tokens import Tokenizer, encode


@dataclass(frozen=True, slots=True)
class Columns:
    """The token columns that stand for a list of names.

    Attributes:
        ids: (q,) int64 distinct token ids, in the order of the names.
        texts: q surface texts of the tokens (" Tokyo").
        names: q names, the first one that each column stands for.
        whole: q flags: the token is the whole name, not only its first word.
        dropped: the names without a column of their own, and why.
    """

    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    whole: tuple[bool, ...]
    dropped: dict[str, str]

    def __len__(self) -> int:
        return len(self.texts)

    def whole_name_ids(self) -> dict[str, int]:
        """Map each name that is one token to its id; only these can be checked against a truth."""
        return {
            name: int(i) for name, i, whole in zip(self.names, self.ids, self.whole, strict=True) if whole
        }


def answer_columns(tokenizer: Tokenizer, names: Sequence[str], setting: str) -> Columns:
    """Find the column of each name by the reference procedure's rule.

    A name counts if its first token behind a space is its whole first word; its column is that token's
    id; of several names with one token the first gives the column its name, unless a later one is whole.

    Args:
        setting: what the list is called in the configuration, for the message.

    Raises:
        BadInput: no name has a column.
    """
    if not names:
        raise BadInput(f"{setting}: the list of answers is empty; give some names")
    # behind a word, as answers come: some SentencePiece tokenizers give a leading space its own token
    anchor = encode(tokenizer, "a")
    encoded = tokenizer([f"a {name}" for name in names], add_special_tokens=False)["input_ids"]
    chosen: dict[int, tuple[str, str, bool]] = {}
    dropped: dict[str, str] = {}
    for name, with_anchor in zip(names, encoded, strict=True):
        ids = with_anchor[len(anchor) :]
        words = name.split()
        text = tokenizer.decode(ids[:1])
        if not words or text.strip() != words[0]:
            dropped[name] = "its first word is not one token"
            continue
        whole = len(ids) == 1
        known = chosen.get(ids[0])
        if known is None or (whole and not known[2]):
            if known is not None:
                dropped[known[0]] = f"shares its token with {name!r}"
            chosen[ids[0]] = (name, " " + words[0], whole)
        else:
            dropped[name] = f"shares its token with {known[0]!r}"
    if not chosen:
        raise BadInput(
            f"{setting}: none of the {len(names)} answers begins with a word that is one token of this "
            f"model's vocabulary (such as {names[0]!r}); give other names"
        )
    found = list(chosen.values())
    return Columns(
        np.array(list(chosen), dtype=np.int64),
        tuple(text for _, text, _ in found),
        tuple(name for name, _, _ in found),
        tuple(whole for _, _, whole in found),
        dropped,
    )
