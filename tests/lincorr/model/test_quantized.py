"""Quantised checkpoints: what they compute, what is known of them, and what cannot be loaded."""

import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from lincorr.model.checks import check_readout, check_trees, check_trunk
from lincorr.model.device import loaded_bytes
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import fingerprint_of
from lincorr.model.load import load_model
from lincorr.model.parts import find_readout
from lincorr.model.quantized import quantization_of
from tests.lincorr.model.edits import edit_json
from tests.lincorr.model.quantised import FP8, INT8, changed, from_fp8, to_fp8, to_int8
from tests.lincorr.model.refused import refusal


@pytest.fixture
def fp8(toy_model: Path, tmp_path: Path) -> Path:
    return changed(toy_model, tmp_path / "fp8", FP8, to_fp8)


def test_an_fp8_checkpoint_computes_with_the_values_that_it_stores(fp8: Path, tmp_path: Path) -> None:
    plain = changed(fp8, tmp_path / "plain", None, from_fp8)
    edit_json(plain / "config.json", quantization_config=None)
    model, same = (load_model(ModelSpec(str(path), device="cpu")) for path in (fp8, plain))
    ids = same.random_prompts(8, 6)
    np.testing.assert_allclose(model.logits(ids), same.logits(ids), atol=1e-5 * same.logits(ids).std())
    for check in (check_readout, check_trees, check_trunk):
        assert check(model).passed
    assert (model.dtype, same.quantization) == ("float32", "")
    method, _, settings = model.quantization.partition(" {")
    assert method == "fp8 made plain"  # a CPU has no products of FP8
    assert json.loads("{" + settings) == FP8
    assert fingerprint_of(ModelSpec(str(fp8))) != fingerprint_of(ModelSpec(str(plain)))


def test_what_a_checkpoint_takes_in_memory_follows_from_its_method(fp8: Path, toy_model: Path) -> None:
    """A CPU makes FP8 plain: as many numbers as the plain model has, but for the scales."""
    spec = ModelSpec("m", device="cpu")
    plain = loaded_bytes(toy_model, spec)
    assert plain < loaded_bytes(fp8, spec) < 1.05 * plain
    edit_json(fp8 / "config.json", quantization_config={"quant_method": "gptq", "bits": 8})
    stored = (fp8 / "model.safetensors").stat().st_size
    assert loaded_bytes(fp8, spec) == stored
    settings = {"quantization_config": {"quant_method": "gptq", "bits": 8}}
    edit_json(fp8 / "config.json", quantization_config=None, text_config=settings)  # beside a vision tower
    assert loaded_bytes(fp8, spec) == stored


@pytest.mark.parametrize(
    ("method", "package", "more"),
    [
        ("gptq", "optimum", {"bits": 4}),
        ("awq", "gptqmodel", {"bits": 4, "group_size": 8}),
        ("bitsandbytes_4bit", "bitsandbytes", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        ("bitsandbytes_8bit", "bitsandbytes", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("compressed-tensors", "compressed-tensors", {}),
        ("torchao", "torchao", {"quant_type": "int8_weight_only"}),
        ("quanto", "optimum-quanto", {"weights": "int8"}),
        ("hqq", "hqq", {}),
        ("aqlm", "aqlm", {}),
        ("fbgemm_fp8", "GPU", {}),
    ],
)
def test_a_package_or_device_that_is_missing_is_named(
    method: str, package: str, more: Any, model_folder: Path
) -> None:
    with suppress(PackageNotFoundError):
        pytest.skip(f"{package} {version(package)} is installed")
    edit_json(model_folder / "config.json", quantization_config={"quant_method": method, **more})
    message = refusal(lambda: load_model(ModelSpec(str(model_folder), device="cpu")))
    assert f"is quantised by {method} and cannot be loaded here (" in message
    assert package in message


def test_a_method_that_transformers_would_pass_over_is_refused(model_folder: Path) -> None:
    edit_json(model_folder / "config.json", quantization_config={"quant_method": "magic"})
    message = refusal(lambda: load_model(ModelSpec(str(model_folder))))
    assert "quantised by 'magic', which this transformers does not know" in message


def test_a_key_that_transformers_does_not_read_is_refused(toy_model: Path, tmp_path: Path) -> None:
    """It would load the integers as they are, without their scales."""
    folder = changed(toy_model, tmp_path / "int8", None, to_int8)
    edit_json(folder / "config.json", compression_config=INT8)
    message = refusal(lambda: load_model(ModelSpec(str(folder), device="cpu")))
    assert "under compression_config how it is quantised, which transformers does not read" in message


def test_a_language_model_among_others_may_be_quantised_alone() -> None:
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(quantization_config=FP8))
    found = quantization_of(config)
    assert found is not None
    assert found.method == "fp8"


def test_plain_weights_are_not_quantised(toy_model: Path) -> None:
    assert quantization_of(AutoConfig.from_pretrained(toy_model)) is None


@pytest.mark.parametrize(
    ("settings", "bits"),
    [
        ({"quant_method": "gptq", "bits": 3}, 3.5),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, 4.5),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "bnb_4bit_quant_type": "fp4"}, 8),
        (FP8, 8),
        (INT8, 8),
        ({"quant_method": "mxfp4"}, 4.5),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, 4.5),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}}, 4.5),
        ({"quant_method": "quanto", "weights": "float8"}, 8),
        ({"quant_method": "vptq"}, None),
    ],
)
def test_bits_of_a_weight_are_read_off_the_settings(settings: Any, bits: float | None) -> None:
    found = quantization_of(SimpleNamespace(quantization_config=settings))
    assert found is not None
    assert found.bits == bits


class Int8Head(torch.nn.Module):
    """An output head with a bias whose weights are integers with scales, as GPTQ's have no `weight`."""

    def __init__(self, rows: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.scales = rows.abs().amax(dim=1) / 127
        self.register_buffer("qweight", (rows / self.scales[:, None]).round().to(torch.int8))
        self.bias = bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        weight: Any = self.qweight
        plain: torch.Tensor = weight.float() * self.scales[:, None]
        return states @ plain.T + self.bias


def with_head(head: torch.nn.Module) -> Any:
    config = SimpleNamespace(hidden_size=16, model_type="toy")
    config.get_text_config = lambda: config
    return SimpleNamespace(
        get_output_embeddings=lambda: head, config=config, is_quantized=True, dtype=torch.float32
    )


def test_a_quantised_head_is_read_in_plain_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 16, generator=generator)
    head = Int8Head(rows, torch.randn(50, generator=generator))
    readout = find_readout(with_head(head), 40)
    assert readout.weight.shape == (40, 16)
    states = torch.randn(3, 16, generator=generator)
    torch.testing.assert_close(readout.logits(states), head(states)[:, :40])
    assert (readout.weight - rows[:40]).abs().max() > 0  # the values that it computes with


def test_a_quantised_head_without_rows_is_refused() -> None:
    message = refusal(lambda: find_readout(with_head(torch.nn.Linear(3, 5, dtype=torch.float64)), 5))
    assert "its output head is quantised and gives no rows (" in message
