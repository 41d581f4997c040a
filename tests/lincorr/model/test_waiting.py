"""While a GPU computes a pass the host prepares the next: nothing in a pass has it wait for the device."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM

from lincorr.model.language_model import LanguageModel
from lincorr.prompts.trees import Batch, TreeShape
from tests.lincorr.model.test_language_model import CONFIGS, TOKENIZER, language_model

SHAPE = TreeShape(parents=(-1, 0, 1, 0, 2, 4, 3, 6), ends=(5, 7), trunk=(5, 6, 7, 8))
# Numbers from the device, and to it.
READS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero")
COPIES = ("tensor", "as_tensor")


class Waits(TorchFunctionMode):
    """Notes what the host would wait for on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if (
            name in READS
            or (name in COPIES and not _is_empty(args[0]))  # a cache's first, empty tensor is not copied
            or (name in ("__getitem__", "__setitem__") and _has_list(args[1]))
        ):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


def _is_empty(data: Any) -> bool:
    return isinstance(data, list) and not data


def _has_list(index: Any) -> bool:
    return any(isinstance(one, list) for one in (index if isinstance(index, tuple) else (index,)))


@pytest.mark.parametrize("ends_only", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_pass_has_nobody_wait(name: str, ends_only: bool) -> None:
    model = language_model(name)
    ids = model.random_prompts(4, SHAPE.own_tokens)
    heads = [model.part_of_readout(np.arange(5))] * 2
    model.hidden_and_logits(ids, SHAPE, heads, ends_only=ends_only)  # what a shape needs is made once
    with Waits() as waits:
        model.hidden_and_logits(ids, SHAPE, heads, ends_only=ends_only)
    assert not waits.seen


@pytest.mark.gpu
def test_a_gpu_has_nobody_wait() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    torch.manual_seed(0)
    model = LanguageModel(AutoModelForCausalLM.from_config(CONFIGS["llama"]), TOKENIZER, "cuda")
    ids, heads = model.random_prompts(4, SHAPE.own_tokens), [model.part_of_readout(None)] * 2
    passes = [Batch(SHAPE, np.arange(4), ids)] * 3
    expected = [logits for _, _, logits in model.passes(passes, heads, ends_only=True)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [logits for _, _, logits in model.passes(passes, heads, ends_only=True)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_array_equal(found, expected)
