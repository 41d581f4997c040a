"""Digests of a model's configuration, weights and tokenizer."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lincorr.model.checkpoint import weight_files
from lincorr.model.files import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, ModelSpec, locate, locate_adapter
from lincorr.model.json_file import read_json
from lincorr.model.load import load_tokenizer
from lincorr.prompts.tokenization import tokenization
from lincorr.prompts.tokens import Tokenizer

T = TypeVar("T")

# Settings about where a model came from, not what it computes.
_INCIDENTAL_CONFIG = {"_name_or_path", "transformers_version", "_commit_hash"}

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
# What affects tokens in tokenizer_config.json: another class splits differently with the same tokenizer.json.
_TOKENIZER_SETTINGS = ("tokenizer_class", "add_bos_token", "add_eos_token", "add_prefix_space", "legacy")

_reading = threading.Semaphore(8)  # files at once: hashing leaves Python's lock to others

# Settings about how an adapter was made.
_INCIDENTAL_ADAPTER = {"base_model_name_or_path", "revision", "peft_version", "inference_mode", "task_type"}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """SHA-256 digests, in hexadecimal, of what determines a model's logits.

    Attributes:
        config, weights, tokenizer: of the model's files.
        tokens: of what its tokenizer does (see `lincorr.prompts.tokenization`).
    """

    config: str
    weights: str
    tokenizer: str
    tokens: str

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits over all four."""
        return _joined(self.config, self.weights, self.tokenizer, self.tokens)[:12]


def weights_ahead(folder: Path) -> Callable[[], str]:
    """Begin to hash a located model's weights beside what else is done; return what waits for the digest.

    It raises BadInput if there are none. A process that ends before, for another reason, does not wait.
    """
    return _ahead(lambda: _hash_files(weight_files(folder)))


def fingerprint_of(
    spec: ModelSpec, tokenizer: Tokenizer | None = None, weights: Callable[[], str] | None = None
) -> Fingerprint:
    """Locate a model and its adapter, and hash them (see `fingerprint`).

    Args:
        tokenizer: the model's, where it is loaded already.
        weights: what gives the digest of its weights, where they are hashed already (see `weights_ahead`).

    Raises:
        BadInput: there is no such model or adapter.
    """
    folder = locate(spec)
    tokenizer = tokenizer or load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    return fingerprint(folder, tokenizer, locate_adapter(spec), weights)


def fingerprint(
    folder: Path,
    tokenizer: Tokenizer,
    adapter: Path | None = None,
    weights: Callable[[], str] | None = None,
) -> Fingerprint:
    """Hash what determines the logits: configuration, weights and tokenizer, also of an adapter.

    The folder and the version of transformers that wrote the files do not count.

    Raises:
        BadInput: the folder lacks weights, or its configuration is not valid JSON.
    """
    found = Fingerprint(
        config=_hash_settings(folder / "config.json", _INCIDENTAL_CONFIG),
        weights=weights() if weights else _hash_files(weight_files(folder)),
        tokenizer=_hash_tokenizer(folder),
        tokens=tokenization(tokenizer),
    )
    if adapter is None:
        return found
    return replace(
        found,
        config=_joined(found.config, _hash_settings(adapter / ADAPTER_SETTINGS, _INCIDENTAL_ADAPTER)),
        weights=_joined(found.weights, _hash_files([adapter / ADAPTER_WEIGHTS])),
    )


def _hash_settings(path: Path, incidental: set[str]) -> str:
    kept = {key: value for key, value in read_json(path).items() if key not in incidental}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _joined(*digests: str) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _hash_files(paths: Iterable[Path]) -> str:
    """Hash the digests of files, of which several are read at once."""
    whole = hashlib.sha256()
    for digest in [_ahead(partial(_digest, path)) for path in paths if path.is_file()]:
        whole.update(digest())
    return whole.hexdigest()


def _digest(path: Path) -> bytes:
    with _reading, path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _ahead(work: Callable[[], T]) -> Callable[[], T]:
    """Begin work in a thread that no process waits for as it ends; return what waits for the result."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as problem:  # raised where it is waited for
            found.set_exception(problem)

    threading.Thread(target=run, name="hash", daemon=True).start()
    return found.result


def _hash_tokenizer(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    kept = [settings.get(name) for name in _TOKENIZER_SETTINGS]
    files = _hash_files(folder / name for name in _TOKENIZER_FILES)
    return hashlib.sha256(f"{files}{json.dumps(kept)}".encode()).hexdigest()
