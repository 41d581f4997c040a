"""LoRA adapters, merged into a model's weights. Peft is imported here."""

import warnings
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput, first_line
from lincorr.model.files import ADAPTER_WEIGHTS


def merge_adapter(model: Any, adapter: Path) -> Any:
    """Return a loaded transformers model with an adapter merged into its weights.

    Args:
        adapter: local folder, as `locate_adapter` returns it.

    Raises:
        BadInput: peft is not installed, or the adapter belongs to another model.
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
        return wrapped.merge_and_unload()
    except BadInput:
        raise
    except Exception as problem:
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model ({first_line(problem)})"
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
