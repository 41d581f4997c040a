"""Whether a model gives logits at all, and whether the faster ways through it agree with its own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import BadInput
from lincorr.prompts.trees import Batch, TreeShape

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel

# Accepted difference in standard deviations of what is compared: both sides round in the model's precision,
# but not alike.
_ROUNDING = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_PROMPTS = 8
_LENGTH = 6
_COLUMNS = 1024  # of the vocabulary, drawn: all of it for every row of a batch would take gigabytes
_CHAIN = TreeShape(parents=tuple(range(-1, _LENGTH - 1)), ends=(2, _LENGTH - 1))
_TREE = TreeShape(parents=(-1, 0, 1, 2, 3, 2, 5, 6), ends=(4, 7, 2))
_TRUNK = TreeShape(parents=(-1, 0, 1, 0, 2, 4, 3, 6), ends=(5, 7), trunk=(0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Check:
    """A faster way compared with the model's own.

    Attributes:
        difference: the largest that was found, and
        tolerance: the largest that is accepted, in the same unit.
    """

    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the faster way may be used with this model."""
        return self.difference <= self.tolerance


_FAILED = Check(float("inf"), 0.0)


def rounding(dtype: str) -> float:
    """Return the largest difference, in standard deviations, that rounding explains between two ways."""
    return _ROUNDING.get(dtype, _ROUNDING["float32"])


def check_readout(model: "LanguageModel") -> Check:
    """Compare the read-out of hidden states with the model's own logits."""
    ids = model.random_prompts(_PROMPTS, _LENGTH)
    own = model.logits(ids)
    try:
        chain = TreeShape(tuple(range(-1, _LENGTH - 1)), (_LENGTH - 1,))
        _, (ours,) = model.hidden_and_logits(ids, chain, [model.part_of_readout(None)])
    except (AttributeError, TypeError, RuntimeError):  # no plain decoder under the head
        return _FAILED
    return Check(float(np.abs(own - ours).max()), rounding(model.dtype) * float(own.std()))


def check_trees(model: "LanguageModel") -> Check:
    """Compare the hidden states of prompt trees with those of their prompts, one by one."""
    return _check_shape(model, _TREE)


def check_trunk(model: "LanguageModel") -> Check:
    """Compare the hidden states of prompt trees that grow from a trunk with those of their prompts."""
    trunk = model.random_prompts(1, len(_TRUNK.trunk))[0]
    return _check_shape(model, replace(_TRUNK, trunk=tuple(trunk.tolist())))


def check_ends(model: "LanguageModel") -> Check:
    """Compare hidden states whose last feed-forward network is computed only where prompts end."""
    if not model.reads_ends_only:
        return _FAILED
    return _check_shape(model, _CHAIN, ends_only=True)


def check_batches(
    model: "LanguageModel", batches: Iterable[Batch], bound: float, *, ends_only: bool = False
) -> Check:
    """Compare the logits of prompt trees, in batches as they are, with those of their plain prompts.

    Args:
        bound: accepted difference, in standard deviations of a prompt's logits.
        ends_only: how trees are computed (see `LanguageModel.hidden`).
    """
    columns = np.random.default_rng(0).integers(model.vocabulary_size, size=_COLUMNS)
    head = model.part_of_readout(columns)
    worst = 0.0
    for batch in batches:
        count = len(batch.rows)
        try:
            heads = [head] * len(batch.shape.ends)
            _, logits = model.hidden_and_logits(batch.ids, batch.shape, heads, ends_only=ends_only)
        except Exception:  # whatever a model raises that accepts no 4-D mask, no positions or no cache
            return _FAILED
        for prompts, ours in zip(batch.shape.prompts(batch.ids[:count]), logits, strict=True):
            own = model.logits(prompts)
            differences = np.abs(ours[:count] - own[:, columns]).max(axis=1) / own.std(axis=1)
            worst = float(np.maximum(worst, differences.max()))
    return Check(worst, bound)


def require_numbers(model: "LanguageModel") -> None:
    """Refuse a model whose logits are not numbers, or are all the same.

    Raises:
        BadInput: names the cause.
    """
    logits = model.logits(model.random_prompts(_PROMPTS, _LENGTH))
    if np.isfinite(logits).all() and (logits.std(axis=1) > 0).all():
        return
    if odd := model.odd_weight():
        name, what = odd
        wider = " use bfloat16 or float32, or" if model.dtype == "float16" else ""
        raise BadInput(
            f"model: its weight {name!r} {what} in {model.dtype};{wider} download or convert the model again"
        )
    if np.isfinite(logits).all():
        raise BadInput("model: it gives every token the same logit; download or convert the model again")
    raise BadInput(
        f"model.dtype: this model overflows in {model.dtype}, its logits are not finite; use bfloat16 or "
        "float32"
    )


def _check_shape(model: "LanguageModel", shape: TreeShape, *, ends_only: bool = False) -> Check:
    own = model.random_prompts(_PROMPTS, shape.own_tokens)
    try:
        together = model.hidden(own, shape, ends_only=ends_only)
        alone = [model.hidden(prompts) for prompts in shape.prompts(own)]
    except Exception:  # as above
        return _FAILED
    return Check(_spread(np.stack(alone, axis=1), together), rounding(model.dtype))


def _spread(alone: NDArray[np.float32], together: NDArray[np.float32]) -> float:
    """The difference of states (prompts, ends, width): the median over prompts, the worst over ends.

    A wrong mask changes every prompt of an end; rounding alone changes single prompts at times, whose states
    special tokens make large (seen: SmolLM2).
    """
    by_prompt = (together - alone).std(axis=-1) / alone.std(axis=-1)
    return float(np.median(by_prompt, axis=0).max())
