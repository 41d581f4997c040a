"""Loading a model, its tokenizer or its configuration with transformers; a process caches one model."""

import functools
import re
import sys
import threading
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lincorr.errors import BadInput
from lincorr.model.adapter import merge_adapter
from lincorr.model.device import resolve_device, resolve_dtype
from lincorr.model.files import ModelSpec, locate, locate_adapter
from lincorr.model.huggingface import quiet_transformers, reason
from lincorr.model.placement import placement, require_placed
from lincorr.model.quantized import not_loaded, quantization_of
from lincorr.model.weights import require_weights
from lincorr.prompts.tokens import Tokenizer
from lincorr.uncollected import uncollected

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel

_OF_TOKENIZERS = re.compile(r"token|vocab|merges|piece|bpe|\.model$")  # in the names of their files


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Tokenizer:
    """Load the tokenizer of a located model.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    transformers = quiet_transformers()
    try:
        with uncollected():  # its own module is imported, and a vocabulary read
            tokenizer: Tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
        tokenizer.encode("a", add_special_tokens=True)  # settings of other types are found out only here
        return tokenizer
    except Exception as problem:
        load_config(folder, trust_remote_code=trust_remote_code)  # transformers reads it, too: is it that?
        if not any(_OF_TOKENIZERS.search(path.name) for path in folder.iterdir()):
            raise BadInput(
                f"model: the folder {str(folder)!r} has no tokenizer; save it there, too "
                "(tokenizer.save_pretrained)"
            ) from problem
        raise BadInput(
            f"model: the tokenizer in {str(folder)!r} cannot be read ({reason(problem)})"
        ) from problem


def load_config(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a located model's configuration, which has its sizes, without the weights.

    Raises:
        BadInput: it cannot be read, or describes an encoder with a decoder, or no single decoder.
    """
    transformers = quiet_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as problem:
        raise BadInput(
            f"model: the configuration in {str(folder)!r} cannot be read ({reason(problem)})"
        ) from problem
    if getattr(config, "is_encoder_decoder", False):
        raise BadInput(
            f"model: {str(folder)!r} is an encoder with a decoder ({config.model_type}), and its decoder "
            "alone is no language model; name a causal language model"
        )
    text = config.get_text_config()
    for name in ("hidden_size", "vocab_size"):
        if not isinstance(getattr(text, name, None), int):
            raise BadInput(
                f"model: {str(folder)!r} is not one decoder: its config.json ({config.model_type}) has no "
                f"{name}; name a causal language model"
            )
    return config


def load_model(spec: ModelSpec) -> "LanguageModel":
    """Locate and load a model onto its device, or onto the GPUs of this worker.

    Raises:
        BadInput: there is no such model or adapter, it is not a causal language model, its weights are not
            those that its configuration describes, or they do not fit or cannot be computed with here.
    """
    import torch

    from lincorr.model.causal import require_causal
    from lincorr.model.language_model import LanguageModel

    folder, adapter = locate(spec), locate_adapter(spec)
    device = resolve_device(spec.device)
    dtype = getattr(torch, resolve_dtype(spec.dtype, device))
    config = load_config(folder, trust_remote_code=spec.trust_remote_code)  # refused in its own words
    quantization = quantization_of(config)
    where = placement(spec, device, quantized=quantization is not None)
    transformers = quiet_transformers()
    try:
        with redirect_stdout(sys.stderr):  # some packages for quantised weights print
            model, loading = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                **where,
            )
    except Exception as problem:
        raise not_loaded(spec.source, quantization, reason(problem)) from problem
    require_placed(model, spec)
    require_weights(model, loading, spec.source)
    if adapter is not None:
        model = merge_adapter(model, adapter)
    tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    loaded = LanguageModel(model, tokenizer, device, quantization.as_loaded(model) if quantization else "")
    require_causal(loaded.model, loaded.vocabulary_size, spec.source)
    return loaded


_load_lock = threading.Lock()


def shared_model(spec: ModelSpec) -> "LanguageModel":
    """Return this process's only copy of a model, loading it on first use; another model replaces it."""
    device = resolve_device(spec.device)  # so that "auto" is the same model as what it means
    with _load_lock:
        return _loaded(replace(spec, device=device, dtype=resolve_dtype(spec.dtype, device)))


def release_model() -> None:
    """Release this process's copy, so that a solver has the device for itself."""
    _loaded.cache_clear()


@functools.lru_cache(maxsize=1)
def _loaded(spec: ModelSpec) -> "LanguageModel":
    _loaded.cache_clear()  # before another is loaded: memory for two is nobody's plan
    return load_model(spec)
