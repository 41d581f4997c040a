"""A model that is spread over several devices: its bits, and that every tensor is where it is needed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import AlignDevicesHook
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM

from lincorr.model import language_model as module
from lincorr.model.checks import check_ends, check_readout, check_trees, check_trunk
from lincorr.model.files import ModelSpec
from lincorr.model.language_model import LanguageModel
from lincorr.model.load import load_model
from lincorr.model.placement import devices_of, placement
from lincorr.prompts.trees import Batch, TreeShape
from tests.lincorr.model.refused import refusal
from tests.lincorr.model.test_language_model import CONFIGS, TOKENIZER

SHAPE = TreeShape(parents=(-1, 0, 1, 0, 2, 4, 3, 6), ends=(5, 7), trunk=(5, 6, 7, 8))
ON_DISK = {"model.layers.0": "cpu", "model.layers.1": "disk"} | dict.fromkeys(
    ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu"
)


@pytest.fixture
def spread(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """The toy model with its second layer on disk, from where accelerate's hooks fetch it for each pass."""
    where = {"device_map": ON_DISK, "offload_folder": str(tmp_path / "layers")}
    monkeypatch.setattr("lincorr.model.load.placement", lambda *_, **__: where)
    return load_model(ModelSpec(str(toy_model), device="cpu"))


def test_a_spread_model_has_the_bits_of_one_that_is_whole(spread: LanguageModel, toy_model: Path) -> None:
    layers = spread.layers()
    assert {p.device.type for p in layers[1].parameters()} == {"meta"}  # nothing of it is in memory
    whole = load_model(ModelSpec(str(toy_model), device="cpu"))
    for check in (check_readout, check_trees, check_trunk, check_ends):
        assert check(spread).passed
    ids = whole.random_prompts(6, SHAPE.own_tokens)
    columns = [np.array([3, 1, 4]), np.array([1, 5])]
    for ends_only in (False, True):
        batches = [Batch(SHAPE, np.arange(first, first + 2), ids[first : first + 2]) for first in (0, 2, 4)]
        found = [
            list(model.passes(batches, model.readouts_with_totals(columns), ends_only=ends_only))
            for model in (whole, spread)
        ]
        for (one, states, logits), (other, own_states, own_logits) in zip(*found, strict=True):
            assert one is other  # in their order, though more are in flight
            assert states.tobytes() == own_states.tobytes()
            assert [a.tobytes() for a in logits] == [b.tobytes() for b in own_logits]
    assert whole.logits(ids).tobytes() == spread.logits(ids).tobytes()


# --- three devices that torch only pretends to have -----------------------------------------------------

FIRST, SECOND, THIRD = "cpu:1", "cpu:2", "cpu:3"
SPREAD: Mapping[str, str] = {
    "model.embed_tokens": FIRST,
    "model.rotary_emb": FIRST,
    "model.layers.0": FIRST,
    "model.layers.1": SECOND,
    "model.norm": SECOND,
    "lm_head": THIRD,
}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[LanguageModel]:
    """A model on three devices whose tensors have shapes and devices but no numbers.

    Torch refuses operations on tensors of different devices as a GPU would. `torch.tensor` forgets the number
    of a CPU, which a cache's first, empty tensor has.
    """
    tensor = torch.tensor
    monkeypatch.setattr(
        torch,
        "tensor",
        lambda data, device=None, **more: (
            torch.empty(0, device=device, **more) if data == [] else tensor(data, device=device, **more)
        ),
    )
    monkeypatch.setattr(AlignDevicesHook, "init_hook", lambda self, part: part)  # they are in place
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        model = AutoModelForCausalLM.from_config(CONFIGS["llama"])
        for name, device in SPREAD.items():
            for part in model.get_submodule(name).modules():
                for key, value in part._parameters.items():
                    if value is not None:
                        part._parameters[key] = torch.nn.Parameter(value.to(device), requires_grad=False)
                for key, value in part._buffers.items():
                    part._buffers[key] = None if value is None else value.to(device)
        accelerate.dispatch_model(model, dict(SPREAD), skip_keys=model._skip_keys_device_placement)
        yield LanguageModel(model, TOKENIZER, FIRST)


def test_every_tensor_is_on_the_device_that_needs_it(
    pretended: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[str] = []

    def arrive(tensor: torch.Tensor) -> Any:
        arrived.append(str(tensor.device))
        return np.zeros(tensor.shape, np.float32)

    monkeypatch.setattr(module, "_host", arrive)
    monkeypatch.setattr(pretended._transfer, "start", lambda tensor: lambda: arrive(tensor))
    ids = pretended.random_prompts(4, SHAPE.own_tokens)
    heads = [pretended.part_of_readout(np.arange(5)), pretended.part_of_readout(None)]
    hidden, logits = pretended.hidden_and_logits(ids, SHAPE, heads, ends_only=True)
    assert (hidden.shape, [part.shape[1] for part in logits]) == ((4, 2, 32), [5, len(TOKENIZER)])
    pretended.hidden_and_logits(ids, SHAPE, pretended.readouts_with_totals([np.arange(4)] * 2))
    assert set(arrived) == {THIRD}
    (trunk,) = pretended._trees._trunks.values()
    assert [str(keys.device) for keys, _ in trunk] == [FIRST, SECOND]
    pretended.hidden(ids, SHAPE, ends_only=True)
    assert pretended.logits(ids).shape == (4, len(TOKENIZER))
    assert pretended.host_readout().weight.shape == (len(TOKENIZER), 32)


@pytest.mark.gpu
def test_two_gpus_give_the_logits_of_one(toy_model: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("torch sees fewer than two GPUs")
    one, two = (load_model(ModelSpec(str(toy_model), dtype="float32", gpus=gpus)) for gpus in (1, 2))
    assert len(devices_of(two.model)) == 2
    ids = one.random_prompts(6, SHAPE.own_tokens)
    np.testing.assert_allclose(two.logits(ids), one.logits(ids), atol=1e-4)
    np.testing.assert_allclose(two.hidden(ids, SHAPE), one.hidden(ids, SHAPE), atol=1e-4)
    for check in (check_readout, check_trees, check_trunk, check_ends):
        assert check(two).passed


# --- which GPUs ---------------------------------------------------------------------------------------


def test_too_few_gpus_are_one_line(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(str(toy_model), gpus=4)
    assert refusal(lambda: load_model(spec)).startswith(
        "cluster.gpus_per_worker: 4 GPUs are asked for and this worker sees 0; set it lower"
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "this worker sees 2" in refusal(lambda: placement(spec, "cuda", quantized=False))


def test_weights_without_room_on_the_gpus_are_refused(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What accelerate puts on a disk, where the GPUs are full, would be read again for every pass."""
    where = {"device_map": ON_DISK, "offload_folder": str(tmp_path / "layers")}
    monkeypatch.setattr("lincorr.model.load.placement", lambda *_, **__: where)
    message = refusal(lambda: load_model(ModelSpec(str(toy_model), gpus=2)))
    assert "do not fit on the 2 GPUs of a worker; set cluster.gpus_per_worker higher" in message
