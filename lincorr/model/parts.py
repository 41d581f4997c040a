"""The two parts of any `AutoModelForCausalLM`: the decoder, and the output head above it."""

from typing import Any

from lincorr.readout import Readout

# Names of the cap of logits: Gemma's, RecurrentGemma's and xLSTM's.
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def find_decoder(model: Any) -> Any:
    """Return the part that gives hidden states; some models are their own base model."""
    return model.get_decoder() if model.base_model is model else model.base_model


def find_readout(model: Any, n_tokens: int) -> Readout:
    """Return the output head of the first `n_tokens` tokens: tied or not, biased, scaled or soft-capped."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    bias = getattr(head, "bias", None)
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale *= float(getattr(config, "lm_head_multiplier", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return Readout(
        head.weight.detach()[:n_tokens],
        None if bias is None else bias.detach()[:n_tokens],
        scale,
        softcap(config),
    )


def softcap(config: Any) -> float | None:
    """Return what a model's logits are capped at, off its configuration; None where they are not."""
    text = config.get_text_config()
    caps = (getattr(text, name, None) for name in _SOFT_CAPS)
    return next((float(cap) for cap in caps if cap), None)
