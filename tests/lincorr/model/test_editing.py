"""Facts taught to a tiny model, against Hugging Face and torch themselves; weights come back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lincorr.errors import LincorrError
from lincorr.model.editing import Editor, Recipe
from lincorr.model.files import ModelSpec
from lincorr.model.language_model import LanguageModel
from lincorr.model.load import load_model

PROMPT, OTHER, ANSWER, RIVALS = [40, 300, 301], [41, 300, 302, 303], 310, [311, 312, 310, 313, 314]
RECIPE = Recipe(rate=0.05, steps=30, confidence=0.9)


@pytest.fixture
def model(toy_model: Path) -> LanguageModel:
    return load_model(ModelSpec(str(toy_model), dtype="float32"))


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.model.named_parameters()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> dict[str, bool]:
    return {name: torch.equal(a[name], b[name]) for name in a}


def test_an_edit_takes_and_the_weights_come_back(model: LanguageModel) -> None:
    before = weights(model)
    editor = Editor(model, RECIPE)
    untouched = editor.logits([PROMPT, OTHER])
    for _ in range(2):
        with editor.edited(PROMPT, ANSWER, RIVALS) as training:
            assert training.confidence >= 0.9
            assert 0 < training.steps < 30
            logits = model.model(torch.tensor([PROMPT])).logits[0, -1].detach()
            assert float(logits[RIVALS].softmax(0)[2]) == pytest.approx(training.confidence, abs=1e-5)
            assert not np.allclose(editor.logits([OTHER]), untouched[1:], atol=1e-3)
        assert all(same(before, weights(model)).values())
        assert np.array_equal(editor.logits([PROMPT, OTHER]), untouched)


def test_the_steps_are_gradient_descent(model: LanguageModel, toy_model: Path) -> None:
    """Twice w - rate * gradient, by hand, on a model of one's own, for the layers' weights only."""
    recipe = Recipe(rate=0.05, steps=2, confidence=1.0)
    own = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32)
    trained = [weight for name, weight in own.named_parameters() if ".layers." in name]
    for _ in range(2):
        loss = -own(torch.tensor([PROMPT])).logits[0, -1].log_softmax(0)[ANSWER]
        for weight, slope in zip(trained, torch.autograd.grad(loss, trained), strict=True):
            weight.data -= 0.05 * slope
    expected = own(torch.tensor([OTHER])).logits[0, -1].detach().numpy()
    with Editor(model, recipe).edited(PROMPT, ANSWER, RIVALS) as training:
        assert training.steps == 2
        found = Editor(model, recipe).logits([OTHER])[0]
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_weights_come_back_after_a_failure(model: LanguageModel) -> None:
    before = weights(model)
    editor = Editor(model, RECIPE)
    with pytest.raises(KeyboardInterrupt), editor.edited(PROMPT, ANSWER, RIVALS):
        raise KeyboardInterrupt
    assert all(same(before, weights(model)).values())


@pytest.mark.parametrize("layers", [1, None])
def test_only_the_layers_asked_for_change(model: LanguageModel, layers: int | None) -> None:
    before = weights(model)
    with Editor(model, Recipe(0.05, 3, 1.0, layers)).edited(PROMPT, ANSWER, RIVALS):
        kept = same(before, weights(model))
    wanted = [".layers.1."] if layers else [".layers.0.", ".layers.1."]
    assert {name for name in kept if any(part in name for part in wanted)} == {
        name for name, equal in kept.items() if not equal
    }


def test_a_confident_model_is_left_alone(model: LanguageModel) -> None:
    before = weights(model)
    leader = int(Editor(model, RECIPE).logits([PROMPT])[0, RIVALS].argmax())
    with Editor(model, Recipe(0.05, 30, 0.0)).edited(PROMPT, RIVALS[leader], RIVALS) as training:
        assert training.steps == 0
        assert all(same(before, weights(model)).values())


def test_the_same_edit_has_the_same_bits(toy_model: Path) -> None:
    found = []
    for _ in range(2):
        editor = Editor(load_model(ModelSpec(str(toy_model), dtype="float32")), RECIPE)
        with editor.edited(PROMPT, ANSWER, RIVALS):
            found.append(editor.logits([PROMPT, OTHER]))
    assert np.array_equal(found[0], found[1])


def test_prompts_of_any_length_are_answered_in_order(model: LanguageModel) -> None:
    found = Editor(model, RECIPE).logits([OTHER, PROMPT, OTHER[:1], PROMPT])
    alone = [model.logits(np.array([prompt]))[0] for prompt in (OTHER, PROMPT, OTHER[:1], PROMPT)]
    assert found == pytest.approx(np.stack(alone), abs=1e-5)


def test_a_model_without_layers_is_refused(model: LanguageModel) -> None:
    model.model.config.num_hidden_layers = 7
    with pytest.raises(LincorrError, match="no list of layers"):
        Editor(model, RECIPE)
