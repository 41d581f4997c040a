"""The last feed-forward network is computed at the ends of prompts only, and nothing else changes."""

from typing import Any

import numpy as np
import pytest
import torch

from lincorr.model.checks import check_ends
from lincorr.prompts.trees import merge_prompts
from tests.lincorr.model.test_language_model import CONFIGS, PROMPTS, language_model

# Their networks have other names, or see positions flattened: all positions are computed.
OTHERS = {"opt"}


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - OTHERS))
def test_only_ends_go_through_the_last_network(name: str) -> None:
    model = language_model(name)
    layers = model.layers()
    seen: list[list[int]] = [[], []]
    hooks = [
        next(_network(layer).children()).register_forward_hook(  # a linear layer
            lambda _module, inputs, _output, number=number: seen[number].append(inputs[0].shape[1])
        )
        for number, layer in enumerate(layers)
    ]
    shape = merge_prompts([PROMPTS[0], PROMPTS[0][:3]]).shape
    every = model.hidden(PROMPTS, shape)
    ends = model.hidden(PROMPTS, shape, ends_only=True)
    for hook in hooks:
        hook.remove()
    assert seen == [[7, 7], [7, 2]]
    np.testing.assert_allclose(ends, every, atol=1e-5 * every.std())
    assert check_ends(model).passed


def test_a_network_that_sees_other_positions_is_found_out() -> None:
    model = language_model("llama tied")
    network = _network(model.layers()[-1])
    mixing = network.register_forward_hook(
        lambda _m, _i, output: output + output.mean(dim=1, keepdim=True), prepend=True
    )
    try:
        assert not check_ends(model).passed
    finally:
        mixing.remove()


def _network(layer: torch.nn.Module) -> Any:
    return dict(layer.named_children())["mlp"]
