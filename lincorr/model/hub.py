"""Models on Hugging Face's hub: the files that a model needs, and what helps where they cannot be had."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput, in_one_line
from lincorr.model.checkpoint import FORMATS, SAFETENSORS, index_name, indexed_files

# What tokenizers and configurations are read from. An offline cache must have what of this the model has.
_SMALL = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "bpe.codes",
    "dict.txt",
    "emoji.json",
    "tekken.json",
)
_PATIENCE = 20.0  # seconds without a byte until the hub does not answer
_OF_CODE = ("*.py", "*.json", "*.txt", "*.tiktoken")  # code of its own, and whatever that may read
_ELSEWHERE = ("*/*", "adapter_config.json")  # other formats and versions; an adapter would be applied unasked


def download_settings(hub_id: str, revision: str | None, *, trust_remote_code: bool) -> Path:
    """Download a model's configuration and tokenizer; return the local folder.

    Raises:
        BadInput: they cannot be had; the message says what helps.
    """
    return download(hub_id, revision, (*_SMALL, *_OF_CODE) if trust_remote_code else _SMALL)


def download_model(hub_id: str, revision: str | None, *, trust_remote_code: bool) -> Path:
    """Download what a model is loaded from, and nothing else; return the local folder.

    Weights are those that transformers would load: safetensors, or where there are none, PyTorch's. Code is
    downloaded only if it is trusted.

    Raises:
        BadInput: the model, or a part of it, cannot be had; the message says what helps.
    """
    folder = download_settings(hub_id, revision, trust_remote_code=trust_remote_code)
    made = folder.name  # the commit, whatever the revision becomes meanwhile
    for weights in FORMATS:
        folder = download(hub_id, made, (weights, index_name(weights)))
        if (folder / weights).is_file():
            return folder
        if parts := indexed_files(folder, weights):
            return download(hub_id, made, parts)
    raise BadInput(f"model: {hub_id!r} on the hub has no weights that transformers loads ({SAFETENSORS})")


def download(hub_id: str, revision: str | None, patterns: Sequence[str], *, setting: str = "model") -> Path:
    """Download those files of a repository that match the patterns; return their local folder.

    Args:
        setting: that names the repository.

    Raises:
        BadInput: they cannot be had; the message says what helps.
    """
    import huggingface_hub

    ignored = [name for name in _ELSEWHERE if name not in patterns]
    _lose_patience(huggingface_hub.get_session())
    try:
        with _quiet():
            return Path(
                huggingface_hub.snapshot_download(
                    hub_id, revision=revision, allow_patterns=list(patterns), ignore_patterns=ignored
                )
            )
    except Exception as problem:
        raise BadInput(f"{setting}: {_advice(problem, hub_id, revision)}") from problem


def _lose_patience(session: Any) -> None:
    """Let requests of the hub's library fail that would wait for ever, as most of them do."""
    hooks = session.event_hooks
    if _limit not in hooks["request"]:
        session.event_hooks = hooks | {"request": [*hooks["request"], _limit]}


def _limit(request: Any) -> None:
    waits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {part: _PATIENCE if s is None else s for part, s in waits.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's library from warning that no file matches: some models have no weights in a format."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _advice(problem: Exception, hub_id: str, revision: str | None) -> str:
    """Say what failed, and what helps; of the exceptions of the hub's library, particular ones come first."""
    from huggingface_hub import constants, errors

    if isinstance(problem, errors.GatedRepoError):
        return (
            f"{hub_id!r} is gated: ask for access on its page there, then log in with `hf auth login` or "
            "set HF_TOKEN"
        )
    if isinstance(problem, errors.RepositoryNotFoundError):
        return (
            f"{hub_id!r} is neither a local folder nor on the hub; check the name, or log in with "
            "`hf auth login` if it is private"
        )
    if isinstance(problem, errors.RevisionNotFoundError):
        return f"{hub_id!r} has no revision {revision!r} on the hub; set model.revision to one that it has"
    if isinstance(problem, errors.HFValidationError):
        return f"{hub_id!r} is not a local folder, a .gguf file or an id on the hub (owner/name)"
    if getattr(getattr(problem, "response", None), "status_code", None) in (401, 403):
        return (
            f"the hub refuses this login for {hub_id!r}; log in anew with `hf auth login`, or unset HF_TOKEN"
        )
    if hasattr(problem, "snapshot_path"):
        missing = in_one_line(problem).partition("are missing (")[2].partition(")")[0]
        return f"the cache lacks files of {hub_id!r} ({missing}); run once with a connection to the hub"
    if isinstance(problem, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return (
            f"{hub_id!r} is neither a local folder nor in the hub's cache, and HF_HUB_OFFLINE is set; unset "
            "that, or name a folder"
        )
    if isinstance(problem, errors.LocalEntryNotFoundError):
        return (
            f"{hub_id!r} is neither a local folder nor in the hub's cache, and the hub cannot be reached "
            f"({_cause(problem)}); check the network, HTTPS_PROXY and HF_ENDPOINT, or name a folder"
        )
    return (
        f"{hub_id!r} cannot be downloaded from the hub ({in_one_line(problem)}); try again, or name a folder"
    )


def _cause(problem: BaseException) -> str:
    """What lies behind a problem of the hub's library."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return in_one_line(problem)
