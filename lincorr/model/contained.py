"""A model is its folder: files elsewhere, or code on the hub, that its files name are no part of it.

The fingerprint covers the files of the folder. What lies outside could change without anybody noticing, and
code is run only where the user trusts it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lincorr.errors import BadInput
from lincorr.model.checkpoint import FORMATS, index_name, indexed_files
from lincorr.model.json_file import read_json

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_ADAPTER = "adapter_config.json"
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)


def require_contained(folder: Path, *, trust_remote_code: bool) -> None:
    """Refuse a model's folder with an adapter, or files that name others elsewhere or untrusted code.

    Raises:
        BadInput: names the file and what it names; an adapter is in the folder; or a file is not valid JSON.
    """
    for path, name in _named_files(folder):
        if name != Path(name).name or "\\" in name:
            raise BadInput(
                f"model: {str(path)!r} names the file {name!r}, which is not in the model's own folder; put "
                "it there, and its plain name here"
            )
    path = folder / _ADAPTER
    if path.exists():
        raise BadInput(
            f"model: {str(path)!r} is an adapter's, which would be applied unasked; move the adapter's files "
            "to a folder of their own, and name that as model.adapter if you want it"
        )
    path = folder / "config.json"
    config = read_json(path)
    other = config.get("transformers_weights")
    if other is not None and other not in _WEIGHTS:
        raise BadInput(
            f"model: {str(path)!r} takes its weights from {other!r} (transformers_weights); name that file "
            f"{_WEIGHTS[0]} and delete the key"
        )
    kernel = next(_kernels(config), None)
    if kernel is not None and not trust_remote_code:
        raise BadInput(
            f"model: {str(path)!r} would run code from the hub, {kernel!r}; delete that key, or set "
            "model.trust_remote_code if you trust it"
        )


def _named_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The names of files in the files of a model: shards of weights, and versions of a tokenizer."""
    for weights in FORMATS:
        for name in indexed_files(folder, weights):
            yield folder / index_name(weights), name
    path = folder / "tokenizer_config.json"
    versions = read_json(path).get("fast_tokenizer_files") if path.is_file() else None
    for name in versions if isinstance(versions, list) else ():
        yield path, str(name)


def _kernels(config: Any) -> Iterator[str]:
    """Kernels on the hub, owner/name, that a configuration or a part of it asks for."""
    if isinstance(config, dict):
        for key, value in config.items():
            asked = value.values() if isinstance(value, dict) else (value,)
            if key in _KERNELS:
                yield from (name for name in asked if isinstance(name, str) and "/" in name)
            yield from _kernels(value)
