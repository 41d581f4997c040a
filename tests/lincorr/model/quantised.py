"""Checkpoints with quantised weights, made from a plain one without the packages that usually make them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GROUP = 32  # rows that share a scale in GPTQ and AWQ
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": True, "desc_act": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
_IN_ORDER, _OF_AWQ = (0, 1, 2, 3, 4, 5, 6, 7), (0, 2, 4, 6, 1, 3, 5, 7)

Tensors = dict[str, torch.Tensor]
BLOCK = 8  # rows and columns that share a scale in FP8

FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]}
INT8 = {  # as vLLM's llm-compressor saves it
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "format": "int-quantized",
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
        }
    },
}


def changed(plain: Path, folder: Path, settings: Any, change: Callable[[Tensors], Tensors]) -> Path:
    """Copy a checkpoint with other tensors, and with `quantization_config` if there are settings."""
    shutil.copytree(plain, folder)
    config = json.loads((folder / "config.json").read_text())
    if settings is not None:
        config["quantization_config"] = settings
    (folder / "config.json").write_text(json.dumps(config))
    tensors = change(load_file(plain / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def to_fp8(tensors: Tensors) -> Tensors:
    """Quantise the matrices of all layers in blocks."""

    def quantise(name: str, weight: torch.Tensor) -> Tensors:
        rows, columns = weight.shape
        blocks = weight.reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
        scales = blocks.abs().amax(dim=(1, 3)) / 448
        scaled = blocks / scales[:, None, :, None]
        return {
            name: scaled.reshape(rows, columns).to(torch.float8_e4m3fn),
            f"{name}_scale_inv": scales,
        }

    return _of_layers(tensors, quantise)


def from_fp8(tensors: Tensors) -> Tensors:
    """The plain tensors that have the same values."""
    made = {}
    for name, weight in tensors.items():
        scales = tensors.get(f"{name}_scale_inv")
        if scales is not None:
            weight = weight.float() * scales.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
        if not name.endswith("_scale_inv"):
            made[name] = weight
    return made


def to_int8(tensors: Tensors) -> Tensors:
    """Quantise the matrices of all layers row by row."""

    def quantise(name: str, weight: torch.Tensor) -> Tensors:
        scales = weight.abs().amax(dim=1, keepdim=True) / 127
        return {name: (weight / scales).round().to(torch.int8), f"{name}_scale": scales}

    return _of_layers(tensors, quantise)


def to_gptq(tensors: Tensors) -> Tensors:
    """Quantise the matrices of all layers to 4 bits, eight rows of the transpose in a number."""

    def quantise(name: str, weight: torch.Tensor) -> Tensors:
        numbers, scales = _four_bits(weight)
        stem = name.removesuffix("weight")
        return {
            f"{stem}qweight": _packed(numbers.T, _IN_ORDER).T.contiguous(),
            f"{stem}qzeros": _packed(torch.full_like(scales, 7), _IN_ORDER),  # less one
            f"{stem}scales": scales.half(),
            f"{stem}g_idx": (torch.arange(len(numbers)) // GROUP).int(),
        }

    return _of_layers(tensors, quantise)


def to_awq(tensors: Tensors) -> Tensors:
    """Quantise them to the values of `to_gptq`, eight columns in a number and in an order of their own."""

    def quantise(name: str, weight: torch.Tensor) -> Tensors:
        numbers, scales = _four_bits(weight)
        stem = name.removesuffix("weight")
        return {
            f"{stem}qweight": _packed(numbers, _OF_AWQ),
            f"{stem}qzeros": _packed(torch.full_like(scales, 8), _OF_AWQ),
            f"{stem}scales": scales.half(),
        }

    return _of_layers(tensors, quantise)


def _of_layers(tensors: Tensors, quantise: Callable[[str, torch.Tensor], Tensors]) -> Tensors:
    """Replace the matrices of all layers by what is made of them; others stay."""
    made: Tensors = {}
    for name, weight in tensors.items():
        made |= quantise(name, weight) if "_proj" in name else {name: weight}
    return made


def _four_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers from 0 to 15 of the transpose, and the scales of each group of rows; the zero is 8."""
    groups = weight.T.reshape(-1, GROUP, len(weight))
    scales = groups.abs().amax(dim=1) / 7
    return ((groups / scales[:, None]).round() + 8).reshape(-1, len(weight)), scales


def _packed(numbers: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """Put eight neighbouring columns into one int32, 4 bits each."""
    eights = numbers.to(torch.int64).reshape(len(numbers), -1, 8)
    packed = sum(eights[:, :, column] << 4 * place for place, column in enumerate(order))
    return torch.as_tensor(packed).to(torch.int32).contiguous()
