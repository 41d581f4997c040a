"""Adapters on embeddings and output heads that may be tied, against peft's own unmerged forward pass."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from lincorr.model import adapter as adapters
from lincorr.model.files import ModelSpec
from lincorr.model.load import load_model
from tests.lincorr.model.refused import refusal

IDS = np.arange(5, 11)[None]


def saved(model: Path, folder: Path, **settings: Any) -> np.ndarray:
    """Save a random adapter on a model; return the unmerged model's logits at the end of a prompt."""
    torch.manual_seed(0)
    wanted = peft.LoraConfig(r=2, init_lora_weights=False, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tied weights, and of what the two libraries owe each other
        made: Any = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), wanted).eval()
        for name, weight in made.named_parameters():
            if weight.requires_grad and "lora" not in name:  # begins as a copy
                weight.data += 0.3 * torch.randn_like(weight)
        made.save_pretrained(folder)
    with torch.inference_mode():
        return np.asarray(made(torch.from_numpy(IDS)).logits[:, -1])


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["lm_head", "embed_tokens"]},
        {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["lm_head"], "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_an_adapter_on_tied_embeddings_gives_pefts_own_logits(
    toy_model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    expected = saved(toy_model, tmp_path / "adapter", **settings)
    model = load_model(ModelSpec(str(toy_model), adapter=str(tmp_path / "adapter"), dtype="float32"))
    np.testing.assert_allclose(model.logits(IDS), expected, atol=1e-3 * expected.std())


def test_an_adapter_whose_merging_changes_logits_is_refused(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(toy_model, tmp_path / "adapter", target_modules=["lm_head"])
    monkeypatch.setattr(adapters, "_untie", lambda wrapped: None)
    in_float32 = ModelSpec(str(toy_model), adapter=str(tmp_path / "adapter"), dtype="float32")
    assert "cannot be merged" in refusal(lambda: load_model(in_float32))
    assert "cannot be merged" in refusal(lambda: load_model(replace(in_float32, dtype="bfloat16")))
