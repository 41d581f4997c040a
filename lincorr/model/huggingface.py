"""Hugging Face's libraries, imported when they are first needed, and downloads from its hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput, first_line


def quiet_transformers() -> Any:
    """Import transformers and return it, without its warnings and progress bars."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def download(
    hub_id: str, revision: str | None, patterns: Sequence[str], *, without: str | None = None
) -> Path:
    """Download those files of a repository that match the patterns; return their local folder.

    Args:
        without: the name of a file that is not wanted.

    Raises:
        BadInput: the hub cannot be reached, or has no such repository or revision.
    """
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                hub_id, revision=revision, allow_patterns=list(patterns), ignore_patterns=without
            )
        )
    except Exception as problem:
        raise BadInput(
            f"model: {hub_id!r} is not a local folder or a .gguf file, and cannot be downloaded from the "
            f"hub ({first_line(problem)})"
        ) from problem


def reason(problem: BaseException) -> str:
    """Return the first line of what transformers says, or, where it asks for trust, how to give it."""
    if "trust_remote_code" in str(problem):
        return "it comes with code of its own; set model.trust_remote_code to run that, if you trust it"
    return first_line(problem)
