"""Parameters and operations, against torch's own counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig

from lincorr.model.language_model import LanguageModel
from lincorr.prompts.trees import merge_prompts, prompt_template, trunk_of
from pipeline.plan.model_sizes import model_sizes
from tests.pipeline.plan.configurations import TEXTS, planned

# Torch counts plain products only, not those inside fused kernels.
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


def test_the_parameters_of_llama_3_8b_are_those_that_its_makers_tell(llama):
    work = planned({"model.source": str(llama), "subjects.count": "128000"})
    assert work.sizes.parameters == 8_030_261_248  # "8.03B" on its page
    # by hand: 32 layers of q, k, v, o and gate, up, down
    assert work.sizes.multiplied == 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert work.file_bytes == work.weight_bytes == 2 * work.sizes.parameters
    assert work.groups[0].own_tokens == 8  # X lives in the, city of, country of
    assert work.groups[0].seen_tokens == 9  # and BOS


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=12,
        ),
        MixtralConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
            num_experts_per_tok=2,
        ),
    ],
    ids=["llama", "mixtral"],
)
def test_operations_are_those_that_torch_counts(config: Any) -> None:
    sizes = model_sizes(config)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, **EAGER).eval()
    trees, tokens = 4, 7
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.base_model(torch.randint(300, (trees, tokens)), use_cache=False)
    assert trees * sizes.flops(tokens, tokens) == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert sizes.parameters == sum(p.numel() for p in model.parameters())


def test_operations_of_a_subject_are_those_of_its_forward_pass(flags, toy_model):
    work = planned(flags)
    assert work.tokenized
    network = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32, **EAGER)
    model = LanguageModel(network, _tokenizer(toy_model), "cpu")
    templates = [prompt_template(model.tokenizer, text) for text in TEXTS.values()]
    tree = merge_prompts([t.splice(5) for t in templates], trunk_of(templates))
    ids = np.array([tree.tokens] * 8)
    heads = [model.part_of_readout(np.arange(c)) for c in work.columns.values()]
    with FlopCounterMode(display=False) as counter:
        model.hidden_and_logits(ids, tree.shape, heads)
    assert 8 * work.subject_flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
