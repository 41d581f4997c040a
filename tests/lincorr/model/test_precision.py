"""What bfloat16 would save is measured on one product, where that is a question at all."""

import pytest
import torch

from lincorr.model import precision
from lincorr.model.precision import bfloat16_speedup
from tests.lincorr.model.test_language_model import CONFIGS, language_model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_product_of_the_decoder_is_timed_in_both_precisions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def seconds(weight: torch.Tensor) -> float:
        timed.append((weight.dtype, tuple(weight.shape)))
        return 3.0 if weight.dtype == torch.float32 else 1.5

    monkeypatch.setattr(precision, "_seconds", seconds)
    assert bfloat16_speedup(language_model(name)) == 2.0
    (first, shape), (second, same) = timed
    assert (first, second, shape) == (torch.float32, torch.bfloat16, same)
    assert max(shape) < language_model(name).vocabulary_size


def test_a_model_in_another_precision_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    model = language_model("llama tied")
    monkeypatch.setattr(model, "dtype", "bfloat16")
    assert bfloat16_speedup(model) == 1.0


def test_products_are_run() -> None:
    assert bfloat16_speedup(language_model("llama tied")) > 0
