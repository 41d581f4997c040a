"""The two parts of any `AutoModelForCausalLM`: the decoder, and the output head above it."""

import math
from typing import Any

from lincorr.errors import BadInput, in_one_line
from lincorr.model.quantized import is_quantized
from lincorr.readout import Readout

# Names of the cap of logits: Gemma's, RecurrentGemma's and xLSTM's.
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
# Names of what logits are multiplied by (Cohere, Falcon-H1) or divided by (Granite, Inkling), with its power.
_SCALES = {"logit_scale": 1, "lm_head_multiplier": 1, "logits_scaling": -1, "logits_mup_width_multiplier": -1}
# Architectures with another power: MPT's scale, at times a word, is in its configuration only.
_OTHERWISE = {"hyperclovax": {"logits_scaling": 1}, "mpt": {"logit_scale": 0}}


def find_decoder(model: Any) -> Any:
    """Return the part that gives hidden states; some models are their own base model."""
    if model.base_model is not model:
        return model.base_model
    parts = (part for part in model.children() if hasattr(part, "get_input_embeddings"))
    return next(parts, model)  # of Llama 4, whose name for it is another


def find_readout(model: Any, n_tokens: int) -> Readout:
    """Return the output head of the first `n_tokens` tokens: tied or not, biased, scaled or soft-capped.

    Raises:
        BadInput: no one matrix gives the logits, or it is quantised and cannot be had plain.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
    if head is not None and is_quantized(model):
        weight = weight if _is_plain(weight) else _rows(head, model)
    if weight is None:
        raise BadInput(
            f"model: {type(model).__name__} has no output head (get_output_embeddings); name another model"
        )
    return Readout(
        weight.detach()[:n_tokens],
        None if bias is None else bias.detach()[:n_tokens],
        _scale(config),
        softcap(config),
    )


def _is_plain(weight: Any) -> bool:
    import torch

    plain = (torch.float32, torch.float16, torch.bfloat16)
    return type(weight) in (torch.Tensor, torch.nn.Parameter) and weight.dtype in plain


def _rows(head: Any, model: Any) -> Any:
    """Return the matrix (V, width) of a quantised head: what it makes of the unit vectors.

    Raises:
        BadInput: it fails.
    """
    import torch

    tensor = next(iter((*head.parameters(), *head.buffers())), None)
    width = getattr(head, "in_features", model.config.get_text_config().hidden_size)
    bias = getattr(head, "bias", None)
    try:
        with torch.no_grad():
            rows = head(torch.eye(width, dtype=model.dtype, device=None if tensor is None else tensor.device))
            return (rows if bias is None else rows - bias).T.contiguous()
    except Exception as problem:  # of whatever library computes quantised products
        raise BadInput(
            f"model: its output head is quantised and gives no rows ({in_one_line(problem)}); name a "
            "checkpoint whose head is not quantised"
        ) from problem


def _scale(config: Any) -> float:
    """Return what a model's logits are multiplied by, off its configuration."""
    powers = _SCALES | _OTHERWISE.get(config.model_type, {})
    return math.prod(
        float(getattr(config, name, None) or 1.0) ** power for name, power in powers.items() if power
    )


def softcap(config: Any) -> float | None:
    """Return what a model's logits are capped at, off its configuration; None where they are not."""
    text = config.get_text_config()
    caps = (getattr(text, name, None) for name in _SOFT_CAPS)
    return next((float(cap) for cap in caps if cap), None)
