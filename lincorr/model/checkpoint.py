"""The weight files of a model's folder: those that transformers loads, and no others beside them."""

from pathlib import Path

from lincorr.errors import BadInput
from lincorr.model.json_file import read_json

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
FORMATS = (SAFETENSORS, PICKLED)
"""In the order of transformers; each may be one file, or several with an index."""


def index_name(weights: str) -> str:
    """Return the name of the index of weights that are in several files."""
    return f"{weights}.index.json"


def indexed_files(folder: Path, weights: str) -> list[str]:
    """Return the names of the files that an index names, in order; none without an index.

    Raises:
        BadInput: the index is not one.
    """
    path = folder / index_name(weights)
    if not path.is_file():
        return []
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise BadInput(f"model: {str(path)!r} has no weight_map; download it again")
    return sorted(set(map(str, shards.values())))


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a located model: one, or those of the index, in the order of their names.

    Others are of no account, such as the weights in another format that some models have beside them.

    Raises:
        BadInput: there are none, or one that the index names is missing.
    """
    for weights in FORMATS:
        if (folder / weights).is_file():
            return [folder / weights]
        files = [folder / name for name in indexed_files(folder, weights)]
        if missing := next((file for file in files if not file.is_file()), None):
            raise BadInput(
                f"model: {str(missing)!r} is missing, which {index_name(weights)} names; download it again"
            )
        if files:
            return files
    raise BadInput(
        f"model: the folder {str(folder)!r} has no weights ({SAFETENSORS}, or its parts and index)"
    )
