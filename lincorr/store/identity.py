"""What a store was made from, and cannot change."""

from dataclasses import dataclass
from typing import Literal

Passes = Literal["trunk", "trees", "plain", "whole"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What every number in a store depends on. Another one than the store's is refused.

    Attributes:
        source, revision: where the model came from; told, not compared.
        config, weights, tokenizer: digests of the model.
        compute: precision of the model's weights.
        head: one phrase on the output head.
        linear: whether logits were seen to be linear in the hidden state: then their rank is at most d.
        vocabulary_size, width: V and d.
        precision: float32 or float16, of stored logits and hidden states.
        hidden: whether hidden states are kept.
        shard_rows: subjects in a shard.
        batch_tokens: tokens in a forward pass, about: passes of one tree shape have one number of subjects.
        passes: how forward passes are made: "trunk" (prompts merged where they begin alike, and what all
            begin with computed once), "trees" (merged only), "plain" (one template at a time), or "whole"
            (likewise, with the model's own head).
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


# What a different value of an identity's field means, and which setting mends it.
_REFUSALS = {
    "config": "model: another model: its configuration differs from",
    "weights": "model: another model: its weights differ from those of",
    "tokenizer": "model: another model: its tokenizer differs from that of",
    "compute": "model.dtype: {new} where the store was computed in {old} by",
    "precision": "store.precision: {new} where the store keeps {old} of",
    "hidden": "store.hidden: {new} where the store has {old} for",
    "shard_rows": "store.shard_rows: {new} where the store has {old} for",
    "batch_tokens": "cluster.batch_tokens: {new} where the store has {old} for",
}
