"""What every number in a store depends on: fixed when it is made, and compared before it is extended."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args, get_origin

from lincorr.errors import BadInput

Passes = Literal["trunk", "trees", "plain", "whole"]
Kind = Literal["logits", "hidden"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The model, the precision and the batches that a store was made with.

    Attributes:
        source, revision: where the model came from; reported, not compared.
        config, weights, tokenizer: digests of the model's files.
        tokens: digest of what the tokenizer does; empty and not compared in older stores.
        compute: precision of the model's weights.
        head: a phrase that describes the output head.
        linear: whether logits were found to be linear in the hidden state; if so, their rank is at most d.
        vocabulary_size, width: V and d.
        precision: "float32" or "float16", of stored logits and hidden states.
        hidden: whether hidden states are stored.
        shard_rows: subjects in a shard.
        batch_tokens: approximate number of tokens in a forward pass. All passes of one tree shape have the
            same number of subjects.
        passes: how forward passes are made: "trunk" (prompts merged where they begin alike, with their common
            beginning computed once), "trees" (merged only), "plain" (one template at a time), or "whole"
            (one template at a time, with the model's own head).
        quantization: how the weights were quantised in the passes, and with which settings; empty for plain
            weights, and in older stores.
        ends_only: whether a pass computes the last layer's feed-forward network only where prompts end.
    """

    source: str
    revision: str | None
    config: str
    weights: str
    tokenizer: str
    compute: str
    head: str
    linear: bool
    vocabulary_size: int
    width: int
    precision: str
    hidden: bool
    shard_rows: int
    batch_tokens: int
    passes: Passes
    tokens: str = ""
    ends_only: bool = False
    quantization: str = ""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Identity":
        """Read it from a store's attributes; fields that other versions added are ignored.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, or is not what can be written.
        """
        kept = [field for field in fields(cls) if field.default is MISSING or field.name in stored]
        for field in kept:
            if not _can_be(stored[field.name], field.type):
                raise ValueError(f"{field.name} is {stored[field.name]!r}")
        if stored["precision"] not in ("float32", "float16"):
            raise ValueError(f"precision is {stored['precision']!r}")
        return cls(**{field.name: stored[field.name] for field in kept})

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of arrays that the store has for each template."""
        return ("logits", "hidden") if self.hidden else ("logits",)


def _can_be(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) is int and value > 0 if kind is int else isinstance(value, kind)


def quantized_by(phrase: str) -> str:
    """Return an identity's `quantization` without its settings; "plain" where there is none."""
    return phrase.partition(" {")[0] or "plain"


# What a difference in a field means, and which setting resolves it; the store's source and URL follow.
_REFUSALS = {
    "config": "model: another model: its configuration differs from",
    "weights": "model: another model: its weights differ from those of",
    "tokenizer": "model: another model: its tokenizer differs from that of",
    "tokens": "model: its tokenizer, as it is set and as this version of transformers reads it, makes other "
    "tokens than that of",
    "compute": "model.dtype: {new} where the store was computed in {old} by",
    "quantization": "model: weights computed with as {new} where they were as {old} in the store of",
    "precision": "store.precision: {new} where the store has {old} of",
    "hidden": "store.hidden: {new} where the store has {old} for",
    "shard_rows": "store.shard_rows: {new} where the store has {old} for",
    "batch_tokens": "cluster.batch_tokens: {new} where the store has {old} for",
}


def require_same(stored: Identity, wanted: Identity, url: str) -> None:
    """Refuse another model, tokenizer, precision or batch size than those of the store at `url`.

    Raises:
        BadInput: a field differs; the message names its setting.
    """
    for name, refusal in _REFUSALS.items():
        old, new = getattr(stored, name), getattr(wanted, name)
        if old != new:
            if name == "quantization":
                old, new = quantized_by(old), quantized_by(new)
            what = refusal.format(old=old, new=new)
            raise BadInput(f"{what} {stored.source!r} in {url!r}; use that, or name another store")
