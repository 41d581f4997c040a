"""Prompts on both sides of a window, and of the length that rotary embeddings were trained with."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from lincorr.model.checks import check_batches
from lincorr.model.language_model import LanguageModel
from lincorr.model.reach import reach
from lincorr.prompts.trees import Trunk, batches, merge_prompts
from lincorr.testing import toy_tokenizer

TOKENIZER = toy_tokenizer()
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
}
HALVES = ["full_attention", "sliding_attention"]
ROPE = {"rope_theta": 10000.0, "original_max_position_embeddings": 8}
CONFIGS: dict[str, Callable[[], Any]] = {
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=8),
    "qwen2": lambda: transformers.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=8, layer_types=HALVES
    ),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, sliding_window=8, layer_types=HALVES),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SIZES, sliding_window=8, layer_types=HALVES),
    "gpt-oss": lambda: transformers.GptOssConfig(
        **SIZES, sliding_window=8, layer_types=HALVES, num_local_experts=4, num_experts_per_tok=2
    ),
    "gpt-neo": lambda: transformers.GPTNeoConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
        initializer_range=0.3,
    ),
    "dynamic": lambda: transformers.LlamaConfig(
        **SIZES, max_position_embeddings=8, rope_parameters=ROPE | {"rope_type": "dynamic", "factor": 4.0}
    ),
    "longrope": lambda: transformers.Phi3Config(
        **{name: size for name, size in SIZES.items() if name != "head_dim"},
        max_position_embeddings=64,
        original_max_position_embeddings=8,
        pad_token_id=0,
        rope_parameters=ROPE
        | {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 4.0, 8.0]},
    ),
}
TRUNK = [5, 6, 7, 8]
LENGTHS = (2, 6, 14)  # after the trunk: within 8 tokens, and beyond


def prompts(subject: int) -> list[list[int]]:
    """Three prompts of a subject that begin alike."""
    return [[*TRUNK, 20 + subject, *range(40, 39 + length)] for length in LENGTHS]


def fresh(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("trunk", [Trunk(), Trunk(tuple(TRUNK), (-1, 0, 1, 2))], ids=["trees", "trunk"])
def test_long_prompts_have_the_logits_of_a_model_that_has_seen_nothing_else(name: str, trunk: Trunk) -> None:
    untouched = fresh(name)
    right = [[own_logits(untouched, prompt) for prompt in prompts(subject)] for subject in range(2)]
    model = LanguageModel(untouched, TOKENIZER, "cpu")
    head = model.part_of_readout(None)
    for _ in range(2):  # the second time after longer ones
        for kept in (slice(0, 1), slice(0, 3)):
            trees = [merge_prompts(prompts(subject)[kept], trunk) for subject in range(2)]
            (batch,) = batches(trees, 1000, 2)
            _, logits = model.hidden_and_logits(batch.ids, batch.shape, [head] * len(batch.shape.ends))
            for end, ours in enumerate(logits):
                for subject in range(2):
                    own = right[subject][end]
                    np.testing.assert_allclose(ours[subject], own, atol=1e-3 * own.std())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_reach_is_what_the_configuration_says(name: str) -> None:
    assert reach(CONFIGS[name]()) == 8


def test_a_model_without_windows_reaches_any_length() -> None:
    assert reach(transformers.LlamaConfig(**SIZES)) == float("inf")


def test_keys_that_are_chosen_in_blocks_end_the_reach() -> None:
    config = transformers.MiniMaxM3VLTextConfig(index_topk_blocks=2, index_block_size=4)
    assert reach(config) == 8


@pytest.mark.parametrize("name", ["mistral", "dynamic"])
def test_a_check_on_the_prompts_of_a_run_sees_what_a_short_one_does_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a window under a name that nobody knows."""
    monkeypatch.setattr("lincorr.model.language_model.reach", lambda config: float("inf"))
    model = LanguageModel(fresh(name), TOKENIZER, "cpu")
    for kept, right in ((slice(0, 1), True), (slice(0, 3), False)):
        trees = [
            merge_prompts(prompts(subject)[kept], Trunk(tuple(TRUNK), (-1, 0, 1, 2))) for subject in (0, 1)
        ]
        assert check_batches(model, batches(trees, 1000, 4), 1e-3).passed is right


def own_logits(model: Any, prompt: list[int]) -> Any:
    """What transformers says to one prompt before it has seen another, without a mask or a cache of ours."""
    with torch.inference_mode():
        return copy.deepcopy(model)(torch.tensor([prompt])).logits[0, -1, : len(TOKENIZER)].numpy()
