"""Hugging Face's transformers, imported when it is first needed, and its errors in one line."""

import importlib
import sys
from typing import Any

from lincorr.errors import in_one_line
from lincorr.uncollected import uncollected


def quiet_transformers() -> Any:
    """Import transformers and return it, without its warnings and progress bars."""
    with uncollected():
        importlib.import_module("transformers")
        # It replaces itself while it is imported: a thread that waited for another's import is given what was
        # there before, without most of its names.
        transformers: Any = sys.modules["transformers"]
        _ = transformers.AutoConfig  # which imports torch
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def reason(problem: BaseException) -> str:
    """Return what transformers says, or, where it would run code, what helps."""
    if "trust_remote_code" in str(problem):
        return "it comes with code of its own; set model.trust_remote_code to run that, if you trust it"
    if "weights_only" in str(problem):  # torch's own advice is to run what the file holds
        return "its .bin files hold more than weights and are not opened; save the model as safetensors"
    return in_one_line(problem)


def import_for_models() -> None:
    """Import what loading a model takes, seconds of it: nearly all that any architecture needs."""
    transformers = quiet_transformers()
    with uncollected():
        importlib.import_module("transformers.models.llama.modeling_llama")
        for name in ("AutoModelForCausalLM", "AutoTokenizer"):
            getattr(transformers, name)  # which imports it
