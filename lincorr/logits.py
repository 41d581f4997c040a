"""One batch of prompts -> the last hidden states and the logits at the last position.

Torch lives here and in `models.py`.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.readout import Readout
from lincorr.tokens import Tokenizer

# How far the read-out of hidden states may be from the model's own logits, in their standard deviations:
# the model rounds its logits to its own precision, the read-out keeps float32.
_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_CHECK_PROMPTS = 8
_CHECK_LENGTH = 6


@dataclass(frozen=True, slots=True)
class ReadoutCheck:
    """The read-out of hidden states against the model's own logits on a few prompts.

    Attributes:
        max_difference: largest absolute difference, in logits.
        tolerance: the largest that is accepted.
    """

    max_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether hidden states stand for logits in this model."""
        return self.max_difference <= self.tolerance


class LanguageModel:
    """A causal language model with its tokenizer and output head, on one device.

    Prompts come as int64 arrays of one length, (batch, length), never padded: several architectures
    ignore an attention mask when they derive positions.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, device: str) -> None:
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.readout = _readout(model, len(tokenizer))
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
    def hidden(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the states (batch, width) that enter the head at the last position, as float32."""
        return _host(self._last_state(ids))

    @torch.inference_mode()
    def hidden_and_logits(
        self, ids: NDArray[np.int64], readout: Readout
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return hidden states and their logits through `readout`, a part of this model's own."""
        state = self._last_state(ids).float()
        return _host(state), _host(readout.logits(state))

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

    def check_readout(self) -> ReadoutCheck:
        """Compare the read-out of hidden states with the model's own logits on random prompts."""
        ids = np.random.default_rng(0).integers(self.vocabulary_size, size=(_CHECK_PROMPTS, _CHECK_LENGTH))
        own = self.logits(ids)
        try:
            _, ours = self.hidden_and_logits(ids, self.part_of_readout(None))
        except (AttributeError, TypeError, RuntimeError):  # no plain decoder under the head
            return ReadoutCheck(float("inf"), 0.0)
        return ReadoutCheck(
            float(np.abs(own - ours).max()), _TOLERANCE.get(self.dtype, 1e-4) * float(own.std())
        )

    def _tensor(self, ids: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)

    def _last_state(self, ids: NDArray[np.int64]) -> torch.Tensor:
        states = self.model.base_model(self._tensor(ids), use_cache=False).last_hidden_state
        last: torch.Tensor = states[:, -1]
        return last


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
