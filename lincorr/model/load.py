"""Find, convert, fingerprint and load language models. Transformers lives here."""

import functools
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lincorr.errors import BadInput
from lincorr.model.files import (
    _ADAPTER_FILES,
    ModelSpec,
    Precision,
    _transformers,
    locate,
    locate_adapter,
    one_line,
)
from lincorr.prompts.tokens import Tokenizer

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Tokenizer:
    """Load the tokenizer of a located model.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    transformers = _transformers()
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as problem:
        raise BadInput(
            f"model: the tokenizer in {str(folder)!r} cannot be read ({one_line(problem)})"
        ) from problem


def load_config(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a located model's configuration: sizes without weights.

    Raises:
        BadInput: it cannot be read.
    """
    transformers = _transformers()
    try:
        return transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as problem:
        raise BadInput(
            f"model: the configuration in {str(folder)!r} cannot be read ({one_line(problem)})"
        ) from problem


def load_model(spec: ModelSpec) -> "LanguageModel":
    """Locate and load a model onto its device.

    Raises:
        BadInput: there is no such model or adapter, or it is no causal language model.
    """
    import torch

    from lincorr.model.language_model import LanguageModel

    folder, adapter = locate(spec), locate_adapter(spec)
    device = resolve_device(spec.device)
    dtype = getattr(torch, resolve_dtype(spec.dtype, device))
    transformers = _transformers()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
        )
    except Exception as problem:
        raise BadInput(
            f"model: {spec.source!r} cannot be loaded as a causal language model ({one_line(problem)})"
        ) from problem
    if adapter is not None:
        model = _merged(model, adapter)
    tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    return LanguageModel(model, tokenizer, device)


def _merged(model: Any, adapter: Path) -> Any:
    """Merge an adapter into a loaded model's weights.

    Raises:
        BadInput: peft is not installed, or the adapter is another model's.
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
            f"model.adapter: {str(adapter)!r} does not fit this model ({one_line(problem)})"
        ) from problem


def _require_same_tensors(known: set[str], adapter: Path) -> None:
    """Refuse an adapter that has others than the model's tensors: peft passes over them in silence."""
    import safetensors

    with safetensors.safe_open(adapter / _ADAPTER_FILES[1], framework="numpy") as file:
        kept = set(file.keys())
    if kept != known:
        odd = min(kept ^ known)
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model: {len(kept - known)} of its tensors "
            f"have no place, and {len(known - kept)} places have no tensor ({odd!r}, for one)"
        )


_load_lock = threading.Lock()


def shared_model(spec: ModelSpec) -> "LanguageModel":
    """Return this process's one copy of a model, loading it when first asked for."""
    with _load_lock:
        return _loaded(spec)


def release_model() -> None:
    """Let go of this process's copy, so that a solver has the device for itself."""
    _loaded.cache_clear()


@functools.lru_cache(maxsize=1)
def _loaded(spec: ModelSpec) -> "LanguageModel":
    return load_model(spec)


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" where there is a GPU, else "cpu".

    Raises:
        BadInput: a GPU is asked for where there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"model.device: {device!r} is asked for, but torch sees no GPU; use cpu")
    return device


def visible_gpus(device: str) -> int:
    """Return how many GPUs this process sees for a model on `device`: none where that is "cpu"."""
    import torch

    return 0 if device == "cpu" else torch.cuda.device_count()


def resolve_dtype(dtype: Precision, device: str) -> str:
    """Turn "auto" into float32 on a CPU and bfloat16 on a GPU."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.startswith("cuda") else "float32"


def use_threads(threads: int) -> None:
    """Let the models of this process compute with so many threads, also those that are loaded later.

    It does not import torch: a process that only fits has no use for its 0.2 GB.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch reads them when it is imported
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def threads_in_use() -> int:
    """Return how many threads the models of this process compute with."""
    import torch

    return torch.get_num_threads()
