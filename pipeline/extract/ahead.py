"""The model of a run, loaded once in the process that its workers are forked from: they share its memory."""

import os
import time
from pathlib import Path

import psutil

from lincorr.model.device import loaded_bytes
from lincorr.model.files import ModelSpec, converted_folder, locate
from lincorr.model.fingerprint import weights_ahead
from lincorr.model.json_file import read_json
from lincorr.model.load import shared_model
from lincorr.model.quantized import settings_in
from pipeline.extract.shard import digest_model
from pipeline.runtime.environment import variables_restored
from pipeline.runtime.machine import available_bytes

_SHARE = 3  # of the memory: a model that takes more may be refused by the plan, which is made meanwhile
_SECONDS = 5.0  # for threads of the loading to end
_PARALLEL = "TOKENIZERS_PARALLELISM"


def load_ahead(spec: ModelSpec) -> bool:
    """Load a model that is on disk, in this process's own formats; return whether this may still be forked.

    What is to be downloaded or converted, has an adapter or own code, is quantised or large, workers load.
    """
    if not _is_simple(spec):
        return True
    with variables_restored(_PARALLEL):
        os.environ[_PARALLEL] = "false"  # its threads would be missing from a fork
        weights = weights_ahead(locate(spec))
        digest_model(spec, shared_model(spec).tokenizer, weights)
    return _is_alone()


def _is_simple(spec: ModelSpec) -> bool:
    folder = converted_folder(spec) or Path(spec.source).expanduser()
    if not folder.is_dir() or spec.adapter is not None or spec.trust_remote_code:
        return False
    if settings_in(read_json(folder / "config.json")) is not None:
        return False
    return _SHARE * loaded_bytes(locate(spec), spec) < available_bytes()


def _is_alone() -> bool:
    """Whether this process has one thread, once those that read weights have ended."""
    deadline = time.monotonic() + _SECONDS
    while psutil.Process().num_threads() > 1:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
