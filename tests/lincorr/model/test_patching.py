"""Moves of the residual stream, against transformers' own states and weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lincorr.model import patching
from lincorr.model.files import ModelSpec
from lincorr.model.load import load_model
from lincorr.model.patching import Patcher

PROMPTS = np.array([[5, 9, 12, 7], [5, 40, 12, 7], [5, 77, 12, 7]])


@pytest.fixture
def patcher(toy_model: Path) -> Patcher:
    return Patcher(load_model(ModelSpec(str(toy_model), dtype="float32", device="cpu")))


@pytest.fixture
def theirs(toy_model: Path) -> tuple[Any, list[torch.Tensor]]:
    """Hugging Face's model, and its embeddings and states after each layer."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32).eval()
    kept: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: kept.append(out if torch.is_tensor(out) else out[0]))
        for layer in model.model.layers
    ]
    with torch.no_grad():
        model(torch.from_numpy(PROMPTS))
    for hook in hooks:
        hook.remove()
    return model, kept


def test_the_stream_is_what_leaves_the_layer(
    patcher: Patcher, theirs: tuple[Any, list[torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patching, "_BATCH", 2)
    assert patcher.depth == len(theirs[1])
    for layer, states in enumerate(theirs[1]):
        found = patcher.stream(PROMPTS, layer)
        np.testing.assert_allclose(found, states.numpy(), rtol=1e-4, atol=1e-5)


def test_adding_nothing_changes_nothing_and_no_hook_stays(patcher: Patcher) -> None:
    before = patcher.hidden(PROMPTS)
    nothing = np.zeros(before.shape)
    for layer in range(patcher.depth):
        np.testing.assert_array_equal(patcher.moved(PROMPTS, layer, 1, nothing), before)
    patcher.moved(PROMPTS, 0, 1, nothing + 1)
    np.testing.assert_array_equal(patcher.hidden(PROMPTS), before)


def test_replacing_the_last_layers_state_is_to_read_that_state_out(
    patcher: Patcher, theirs: tuple[Any, list[torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the final norm, which Hugging Face computes."""
    monkeypatch.setattr(patching, "_BATCH", 2)
    model, states = theirs
    last = patcher.depth - 1
    wanted = np.random.default_rng(0).normal(size=(len(PROMPTS), states[-1].shape[-1]))
    found = patcher.moved(PROMPTS, last, -1, wanted - states[-1][:, -1].numpy())
    with torch.no_grad():
        expected = model.model.norm(torch.from_numpy(wanted).float())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_a_move_is_seen_by_the_layers_above(patcher: Patcher, theirs: tuple[Any, list[torch.Tensor]]) -> None:
    """As if the next layer were given the moved states."""
    model, states = theirs
    by = np.random.default_rng(1).normal(size=(len(PROMPTS), states[0].shape[-1]))
    given = states[0].clone()
    given[:, 1] += torch.from_numpy(by).float()
    hook = model.model.layers[1].register_forward_pre_hook(lambda _m, inputs: (given, *inputs[1:]))
    with torch.no_grad():
        expected = model.model(torch.from_numpy(PROMPTS)).last_hidden_state[:, -1]
    hook.remove()
    found = patcher.moved(PROMPTS, 0, 1, by)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(found - patcher.hidden(PROMPTS)).max() > 1e-2
