"""One batch of prompts -> the last hidden states and the logits at the last position.

Torch lives here and in `models.py`.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.prompts import TreeShape
from lincorr.readout import Readout
from lincorr.tokens import Tokenizer

# How far the read-out of hidden states may be from the model's own logits, in their standard deviations:
# the model rounds its logits to its own precision, the read-out keeps float32.
_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_CHECK_PROMPTS = 8
_CHECK_LENGTH = 6
_CHECK_TREE = TreeShape(parents=(-1, 0, 1, 2, 3, 2, 5, 6), ends=(4, 7, 2))


@dataclass(frozen=True, slots=True)
class Check:
    """A short cut against the model's own way, on a few random prompts.

    Attributes:
        max_difference: largest absolute difference.
        tolerance: the largest that is accepted.
    """

    max_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the short cut may be taken with this model."""
        return self.max_difference <= self.tolerance


_FAILED = Check(float("inf"), 0.0)


class LanguageModel:
    """A causal language model with its tokenizer and output head, on one device.

    Prompts come as int64 arrays of one length, (batch, T), never padded: several architectures ignore an
    attention mask when they derive positions.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, device: str) -> None:
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.readout = _readout(model, len(tokenizer))
        self._trees: dict[TreeShape, tuple[torch.Tensor, torch.Tensor]] = {}
        accepted = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def vocabulary_size(self) -> int:
        """Tokens that the tokenizer knows and the head scores; padded rows of the head are left out."""
        return int(self.readout.weight.shape[0])

    @property
    def width(self) -> int:
        """Size of the hidden state that enters the output head."""
        return int(self.readout.weight.shape[1])

    @torch.inference_mode()
    def hidden(self, ids: NDArray[np.int64], shape: TreeShape | None = None) -> NDArray[np.float32]:
        """Return the states that enter the head at the end of every prompt, as float32.

        Args:
            ids: (batch, T) token ids of prompts, or of prompt trees of one `shape` with k ends.

        Returns:
            (batch, width), or (batch, k, width) for trees.
        """
        states = self._states(ids, shape)
        return _host(states[:, -1] if shape is None else states[:, list(shape.ends)])

    @torch.inference_mode()
    def hidden_and_logits(
        self, ids: NDArray[np.int64], shape: TreeShape, readouts: Sequence[Readout]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return hidden states (batch, k, width) of trees, and their logits, end by end.

        Args:
            readouts: k parts of this model's own head, one for each end.
        """
        states = self._states(ids, shape)[:, list(shape.ends)].float()
        logits = [_host(head.logits(states[:, end])) for end, head in enumerate(readouts)]
        return _host(states), logits

    @torch.inference_mode()
    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the model's own logits (batch, vocabulary) at the last position, as float32."""
        output = self.model(self._tensor(ids), use_cache=False, **self._last_only)
        return _host(output.logits[:, -1, : self.vocabulary_size])

    def part_of_readout(self, columns: NDArray[np.int64] | None) -> Readout:
        """Return the head for some token ids (None: all), in float32 on the model's device."""
        head = self.readout if columns is None else self.readout.columns(self._tensor(columns))
        bias = None if head.bias is None else head.bias.float()
        return Readout(head.weight.float(), bias, head.scale, head.softcap)

    def host_readout(self) -> Readout:
        """Return the whole head as float32 NumPy arrays."""
        head = self.readout
        bias = None if head.bias is None else _host(head.bias)
        return Readout(_host(head.weight), bias, head.scale, head.softcap)

    def check_readout(self) -> Check:
        """Compare the read-out of hidden states with the model's own logits."""
        ids = self._random_ids(_CHECK_LENGTH)
        own = self.logits(ids)
        try:
            chain = TreeShape(tuple(range(-1, _CHECK_LENGTH - 1)), (_CHECK_LENGTH - 1,))
            _, (ours,) = self.hidden_and_logits(ids, chain, [self.part_of_readout(None)])
        except (AttributeError, TypeError, RuntimeError):  # no plain decoder under the head
            return _FAILED
        return self._compare(own, ours)

    def check_trees(self) -> Check:
        """Compare the hidden states of prompt trees with those of their prompts, one by one."""
        ids = self._random_ids(len(_CHECK_TREE.parents))
        try:
            together = self.hidden(ids, _CHECK_TREE)
        except Exception:  # whatever a model raises that takes no 4-D mask or no positions
            return _FAILED
        seen = _CHECK_TREE.visible()
        alone = [self.hidden(ids[:, seen[end]]) for end in _CHECK_TREE.ends]
        return self._compare(np.stack(alone, axis=1), together)

    def _random_ids(self, length: int) -> NDArray[np.int64]:
        return np.random.default_rng(0).integers(self.vocabulary_size, size=(_CHECK_PROMPTS, length))

    def _compare(self, own: NDArray[np.float32], ours: NDArray[np.float32]) -> Check:
        tolerance = _TOLERANCE.get(self.dtype, 1e-4) * float(own.std())
        return Check(float(np.abs(own - ours).max()), tolerance)

    def _tensor(self, ids: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)

    def _states(self, ids: NDArray[np.int64], shape: TreeShape | None) -> torch.Tensor:
        """Run the model without its head: (batch, T, width)."""
        extra: dict[str, Any] = {}
        if shape is not None and not shape.is_chain:
            mask, positions = self._tree(shape)
            extra = {
                "attention_mask": mask.expand(len(ids), 1, *mask.shape[2:]),
                "position_ids": positions.expand(len(ids), -1),
            }
        output = self.model.base_model(self._tensor(ids), use_cache=False, **extra)
        states: torch.Tensor = output.last_hidden_state
        return states

    def _tree(self, shape: TreeShape) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the additive mask (1, 1, T, T) and the positions (1, T) of a shape."""
        if shape not in self._trees:
            lowest = torch.finfo(self.model.dtype).min
            hidden = torch.from_numpy(~shape.visible())
            mask = torch.zeros(hidden.shape, dtype=self.model.dtype).masked_fill(hidden, lowest)
            positions = torch.from_numpy(shape.depths())
            self._trees[shape] = (mask[None, None].to(self.device), positions[None].to(self.device))
        return self._trees[shape]


def _host(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array


def _readout(model: Any, n_tokens: int) -> Readout:
    """Find the head of any `AutoModelForCausalLM`: tied or not, with bias, scaled or soft-capped."""
    head = model.get_output_embeddings()
    config = model.config
    bias = getattr(head, "bias", None)
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale *= float(getattr(config, "lm_head_multiplier", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Readout(
        head.weight.detach()[:n_tokens],
        None if bias is None else bias.detach()[:n_tokens],
        scale,
        None if softcap is None else float(softcap),
    )
