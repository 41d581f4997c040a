"""Checkpoints with quantised weights: what their configuration says, and what they can be loaded with."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lincorr.errors import BadInput

_BITS = ("bits", "num_bits", "nbits")  # keys that have them, wherever they stand
_SCALES = 0.5  # bits of a weight that its share of scales and zero points takes; of 8 bits and more, none
_KEY, _OLD_KEY = "quantization_config", "compression_config"  # in config.json; the old one until 2024


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights of a checkpoint are quantised.

    Attributes:
        method: as transformers calls it, such as "gptq" or "bitsandbytes_4bit".
        settings: all that config.json says of it, as JSON.
    """

    method: str
    settings: str

    @property
    def bits(self) -> float | None:
        """Bits of a quantised weight with its share of scales; None where the settings do not say."""
        found = _number(json.loads(self.settings))
        if found is None:
            named = re.search(r"(?:int|float|fp|_)(\d)", f"{self.method} {self.settings}".lower())
            found = int(named[1]) if named else None
        return None if found is None else found + (_SCALES if found < 8 else 0)

    def as_loaded(self, model: Any) -> str:
        """Return a phrase with the method, what became of the weights, and the settings.

        Where transformers has no kernels for a method, it turns weights into plain ones as it loads them.
        """
        return f"{self.method}{'' if is_quantized(model) else ' made plain'} {self.settings}"


def is_quantized(model: Any) -> bool:
    """Whether a transformers model computes with quantised weights."""
    return bool(getattr(model, "is_quantized", False))


def quantization_of(config: Any) -> Quantization | None:
    """Return how a checkpoint is quantised; None where its weights are plain.

    Args:
        config: of transformers, as loaded from config.json.

    Raises:
        BadInput: by a method that transformers does not know, or under a key that it does not read. It would
            pass over either, and take scaled integers for the weights.
    """
    # a model of text and images may have it with its language model, as get_hf_quantizer of transformers
    found = getattr(config, _KEY, None) or getattr(config.get_text_config(), _KEY, None)
    if not found and getattr(config, _OLD_KEY, None):
        raise BadInput(
            f"model: its config.json says under {_OLD_KEY} how it is quantised, which transformers does not "
            f"read; call it {_KEY}, as compressed-tensors does now, or name another checkpoint"
        )
    if not found:
        return None
    settings: Mapping[str, Any] = found if isinstance(found, Mapping) else found.to_dict()
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = _method(settings)
    if method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise BadInput(
            f"model: its config.json says that it is quantised by {method!r}, which this transformers does "
            "not know; install a version that does, or name a checkpoint that is not quantised"
        )
    return Quantization(method, json.dumps(settings, sort_keys=True, default=str))


def settings_in(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a config.json says of the quantisation, or None, without importing transformers."""
    found = config.get(_KEY) or (config.get("text_config") or {}).get(_KEY)
    return found if isinstance(found, Mapping) else None


def _number(settings: Any) -> int | None:
    """The first number of bits among nested settings."""
    if not isinstance(settings, Mapping):
        return None
    here = next((value for key in _BITS if isinstance(value := settings.get(key), int)), None)
    return here or next((n for value in settings.values() if (n := _number(value))), None)


def _method(settings: Mapping[str, Any]) -> str:
    """The name of a method, as transformers' table has it: bitsandbytes counts as two."""
    for bits in (8, 4):
        if settings.get(f"load_in_{bits}bit"):
            return f"bitsandbytes_{bits}bit"
    return str(settings.get("quant_method", "nothing that is named"))


def not_loaded(source: str, quantization: Quantization | None, reason: str) -> BadInput:
    """Return the one-line error for a model that transformers does not load.

    Args:
        reason: what transformers says: of a quantised checkpoint, which package or device it lacks.
    """
    if quantization is None:
        return BadInput(f"model: {source!r} cannot be loaded as a causal language model ({reason})")
    return BadInput(
        f"model: {source!r} is quantised by {quantization.method} and cannot be loaded here ({reason}); "
        "install what is missing, use such a device, or name a checkpoint that is not quantised"
    )
