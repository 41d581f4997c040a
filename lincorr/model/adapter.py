"""LoRA adapters, merged into a model's weights. Peft is imported here."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput, in_one_line
from lincorr.model.files import ADAPTER_WEIGHTS

# Accepted difference of merged from unmerged logits, in standard deviations: merged weights are rounded anew.
_TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}


def merge_adapter(model: Any, adapter: Path) -> Any:
    """Return a loaded transformers model with an adapter merged into its weights.

    Args:
        adapter: local folder, as `locate_adapter` returns it.

    Raises:
        BadInput: peft is not installed, or the adapter belongs to another model or cannot be merged.
    """
    try:
        import peft
    except ImportError:
        raise BadInput(
            "model.adapter: the package peft is not installed; pip install 'lincorr[lora]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (FutureWarning, UserWarning))  # what matters is checked below
            wrapped = peft.PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
            known = set(peft.get_peft_model_state_dict(wrapped))
            _require_same_tensors(known, adapter)
            unmerged = _logits(wrapped.eval())
            _untie(wrapped)
            merged = wrapped.merge_and_unload()
        _require_same_logits(unmerged, _logits(merged), merged, adapter)
        return merged
    except BadInput:
        raise
    except Exception as problem:
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model ({in_one_line(problem)})"
        ) from problem


def _require_same_tensors(known: set[str], adapter: Path) -> None:
    """Refuse an adapter whose tensors are not exactly the model's: peft ignores differences silently."""
    import safetensors

    with safetensors.safe_open(adapter / ADAPTER_WEIGHTS, framework="numpy") as file:
        stored = set(file.keys())
    if stored != known:
        odd = min(stored ^ known)
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model: it has {len(stored - known)} tensors "
            f"that the model does not expect, and {len(known - stored)} are missing ({odd!r}, for one)"
        )


def _untie(wrapped: Any) -> None:
    """Give adapted layers weights of their own where another layer has the same ones, as tied embeddings do.

    Merging would change both layers, or the one weight twice.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.nn import Parameter

    owners = Counter(
        id(weight) for module in wrapped.modules() for weight in module.parameters(recurse=False)
    )
    for layer in (module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)):
        base = layer.get_base_layer()
        for name, weight in list(base.named_parameters(recurse=False)):
            if owners[id(weight)] > 1:
                setattr(base, name, Parameter(weight.detach().clone(), requires_grad=False))


def _logits(model: Any) -> Any:
    """Return the logits (prompts, tokens, vocabulary) of a few random prompts, a float32 tensor."""
    import torch

    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary, (5, 4), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model(ids.to(model.device), use_cache=False).logits.float()


def _require_same_logits(unmerged: Any, merged: Any, model: Any, adapter: Path) -> None:
    """Refuse an adapter that does something else once it is merged."""
    spread = (merged - unmerged).std(dim=-1) / unmerged.std(dim=-1)
    difference = float(spread.median())  # rounding alone may change a single prompt
    if difference > _TOLERANCE.get(str(model.dtype).removeprefix("torch."), 1e-3):
        raise BadInput(
            f"model.adapter: {str(adapter)!r} cannot be merged: it changes logits by {difference:.2g} "
            "standard deviations; merge it into the model yourself, and name the result as model"
        )
