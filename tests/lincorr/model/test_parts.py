"""The decoder and the output head of models that have them in unusual places."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from lincorr.model.parts import find_decoder, find_readout
from tests.lincorr.model.refused import refusal

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
CONFIGS = {
    "its own base model": lambda: transformers.Llama4TextConfig(**SIZES, intermediate_size_mlp=32),
    "divided": lambda: transformers.GraniteConfig(**SIZES, logits_scaling=4.0),
    "multiplied": lambda: transformers.HyperCLOVAXConfig(**SIZES, logits_scaling=4.0),
    "said to be scaled, by a word, and is not": lambda: transformers.MptConfig(
        vocab_size=64, d_model=16, n_heads=2, n_layers=1, logit_scale="inv_sqrt_d_model"
    ),
    "capped": lambda: transformers.Gemma2Config(**SIZES, final_logit_softcapping=2.0),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_decoder_and_head_give_the_models_own_logits(name: str) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        own = model(ids).logits
        ours = find_readout(model, 64).logits(find_decoder(model)(ids).last_hidden_state)
    np.testing.assert_allclose(ours.numpy(), own.numpy(), rtol=0, atol=1e-5 * float(own.std()))


def test_a_model_without_a_head_is_refused() -> None:
    model = transformers.LlamaModel(transformers.LlamaConfig(**SIZES))
    assert "LlamaModel has no output head" in refusal(lambda: find_readout(model, 64))
