"""Whether the faster ways through a model agree with its own, on a few random prompts."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.prompts.trees import TreeShape

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel

# Accepted difference in standard deviations of what is compared: both sides round in the model's precision,
# but not alike.
_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_PROMPTS = 8
_LENGTH = 6
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


def check_readout(model: "LanguageModel") -> Check:
    """Compare the read-out of hidden states with the model's own logits."""
    ids = model.random_prompts(_PROMPTS, _LENGTH)
    own = model.logits(ids)
    try:
        chain = TreeShape(tuple(range(-1, _LENGTH - 1)), (_LENGTH - 1,))
        _, (ours,) = model.hidden_and_logits(ids, chain, [model.part_of_readout(None)])
    except (AttributeError, TypeError, RuntimeError):  # no plain decoder under the head
        return _FAILED
    return Check(float(np.abs(own - ours).max()), _tolerance(model) * float(own.std()))


def check_trees(model: "LanguageModel") -> Check:
    """Compare the hidden states of prompt trees with those of their prompts, one by one."""
    return _check_shape(model, _TREE)


def check_trunk(model: "LanguageModel") -> Check:
    """Compare the hidden states of prompt trees that grow from a trunk with those of their prompts."""
    trunk = model.random_prompts(1, len(_TRUNK.trunk))[0]
    return _check_shape(model, replace(_TRUNK, trunk=tuple(trunk.tolist())))


def _check_shape(model: "LanguageModel", shape: TreeShape) -> Check:
    own = model.random_prompts(_PROMPTS, shape.own_tokens)
    try:
        together = model.hidden(own, shape)
    except Exception:  # whatever a model raises that accepts no 4-D mask, no positions or no cache
        return _FAILED
    trunk = np.broadcast_to(np.array(shape.trunk, dtype=np.int64), (len(own), len(shape.trunk)))
    whole, seen = np.concatenate([trunk, own], axis=1), shape.visible()
    alone = [model.hidden(whole[:, seen[end]]) for end in shape.ends]
    return Check(_spread(np.stack(alone, axis=1), together), _tolerance(model))


def _spread(alone: NDArray[np.float32], together: NDArray[np.float32]) -> float:
    """The difference of states (prompts, ends, width): the median over prompts, the worst over ends.

    A wrong mask changes every prompt of an end; rounding alone changes single prompts at times, whose states
    special tokens make large (seen: SmolLM2).
    """
    by_prompt = (together - alone).std(axis=-1) / alone.std(axis=-1)
    return float(np.median(by_prompt, axis=0).max())


def _tolerance(model: "LanguageModel") -> float:
    return _TOLERANCE.get(model.dtype, 1e-4)
