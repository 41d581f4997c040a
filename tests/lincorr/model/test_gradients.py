"""Gradients at sampled entries, against finite differences and a gradient of every single logit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lincorr.model.files import ModelSpec
from lincorr.model.gradients import GradientProbe
from lincorr.model.language_model import LanguageModel
from lincorr.model.load import load_model

PROMPT = [5, 9, 12, 7]
TOKENS = np.array([3, 260, 41, 17])


@pytest.fixture
def model(toy_model: Path) -> LanguageModel:
    """A copy of its own."""
    return load_model(ModelSpec(str(toy_model), dtype="float32", device="cpu"))


def whole_gradients(model: LanguageModel) -> np.ndarray:
    """The gradient (tokens, all entries of the layers) of every logit, one by one."""
    weights = [weight for name, weight in model.model.named_parameters() if ".layers." in name]
    for weight in weights:
        weight.requires_grad_(True)
    rows = []
    for token in TOKENS:
        logit = model.model(torch.tensor([PROMPT])).logits[0, -1, token]
        rows.append(np.concatenate([g.flatten().numpy() for g in torch.autograd.grad(logit, weights)]))
    return np.array(rows)


def test_combinations_have_the_combined_gradients(model: LanguageModel) -> None:
    combinations = np.random.default_rng(0).standard_normal((len(TOKENS), 3))
    expected = combinations.T @ whole_gradients(model)
    found = GradientProbe(model, 10**9, seed=0).gradients(PROMPT, TOKENS, combinations)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_sample_is_of_the_same_entries_in_order_for_every_prompt(model: LanguageModel) -> None:
    whole = whole_gradients(model)
    probe = GradientProbe(model, 300, seed=1)
    found = probe.gradients(PROMPT, TOKENS, np.eye(len(TOKENS)))
    assert 250 < found.shape[1] <= 300
    # every sampled column is one of the whole's, and they come in its order
    places = [int(np.abs(whole - column[:, None]).sum(axis=0).argmin()) for column in found.T]
    np.testing.assert_allclose(found, whole[:, places], rtol=1e-3, atol=1e-4 * np.abs(whole).max())
    again = GradientProbe(model, 300, seed=1).gradients(PROMPT, TOKENS, np.eye(len(TOKENS)))
    np.testing.assert_array_equal(found, again)
    other = GradientProbe(model, 300, seed=2).gradients(PROMPT, TOKENS, np.eye(len(TOKENS)))
    assert found.shape != other.shape or not np.allclose(found, other)


def test_the_gradient_is_a_slope(model: LanguageModel) -> None:
    """Along the gradient, a small step changes the combination by as much as its square tells."""
    model.model.double()
    combination = np.array([[1.0], [-0.5], [2.0], [0.3]])
    gradient = GradientProbe(model, 10**9, seed=0).gradients(PROMPT, TOKENS, combination)[0].astype(float)
    weights = model.layer_weights()

    def value() -> float:
        with torch.inference_mode():
            logits = model.model(torch.tensor([PROMPT])).logits[0, -1, TOKENS]
        return float(logits.numpy() @ combination[:, 0])

    def move(step: float) -> float:
        start = 0
        with torch.no_grad():
            for weight in weights:
                part = gradient[start : start + weight.numel()].reshape(weight.shape)
                weight.add_(step * torch.from_numpy(part))
                start += weight.numel()
        return value()

    step = float(1e-3 / np.linalg.norm(gradient))  # norms compute in float32 whatever the weights are
    rise = (move(step) - move(-2 * step)) / (2 * step)
    assert rise == pytest.approx(gradient @ gradient, rel=1e-3)
