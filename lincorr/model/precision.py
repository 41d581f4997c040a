"""What another precision would save on this processor."""

import time
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel

_TOKENS, _MOST = 512, 1024  # rows, and columns of either side: a second where bfloat16 is emulated
_TIMES = 3  # after a first product, which starts the threads


def bfloat16_speedup(model: "LanguageModel") -> float:
    """Return how many times as fast one of the model's products is in bfloat16; 1 if that was not tried.

    It depends on the processor: about 10 with a matrix unit (AMX), 2 with AVX-512's bfloat16, and far below 1
    without either. Only a model in float32 on a CPU is tried.
    """
    if model.device != "cpu" or model.dtype != "float32":
        return 1.0
    weights = [weight.detach() for weight in model.decoder.parameters() if weight.ndim == 2]
    within = [weight for weight in weights if max(weight.shape) < model.vocabulary_size]  # no embeddings
    if not within:
        return 1.0
    weight = max(within, key=torch.numel)[:_MOST, :_MOST].contiguous()
    return _seconds(weight) / _seconds(weight.bfloat16())


@torch.inference_mode()
def _seconds(weight: torch.Tensor) -> float:
    """The shortest time of a product."""
    states = torch.ones(_TOKENS, weight.shape[1], dtype=weight.dtype)
    linear(states, weight)
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        linear(states, weight)
        times.append(time.perf_counter() - began)
    return min(times)
