"""Which model to load, and the local folder with its files, from a folder, the hub or a GGUF file."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lincorr.errors import BadInput, in_one_line
from lincorr.model.checkpoint import weight_files
from lincorr.model.contained import require_contained
from lincorr.model.gguf import conversion_folder, convert, gguf_file
from lincorr.model.hub import download, download_model, download_settings

Precision = Literal["auto", "float32", "float16", "bfloat16"]

ADAPTER_SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model to load, and how; small, hashable and sent to workers in place of the model.

    Attributes:
        source: a hub id, a local folder, a ``.gguf`` file, or ``package:name/file.gguf`` for a file
            inside an installed Python package.
        revision: of a hub id.
        adapter: a local folder or hub id with a LoRA adapter (peft), which is merged into the weights.
        dtype: precision of the weights; "auto" is float32 on a CPU, bfloat16 on a GPU.
        device: "cpu", "cuda", or "auto".
        gpus: of a worker, over which the model is spread if there are several.
        trust_remote_code: run model code that comes with the download. Off unless asked for.
        cache: folder for converted models; None is the user's cache folder.
    """

    source: str
    revision: str | None = None
    adapter: str | None = None
    dtype: Precision = "auto"
    device: str = "auto"
    gpus: int = 1
    trust_remote_code: bool = False
    cache: str | None = None

    @property
    def described(self) -> str:
        """The source, and the adapter if there is one: ``source + adapter``."""
        return self.source if self.adapter is None else f"{self.source} + {self.adapter}"


def model_name(described: str) -> str:
    """Return a short name for a model (see `ModelSpec.described`), fit for files and titles."""
    return "+".join(Path(part).name.removesuffix(".gguf") for part in described.split(" + "))


def locate(spec: ModelSpec) -> Path:
    """Return a local folder that transformers can load, after downloading or converting if needed.

    Raises:
        BadInput: there is no such model, its files name others outside its folder, or an adapter is in it.
    """
    gguf = gguf_file(spec.source)
    if gguf is not None:
        return convert(gguf, conversion_folder(gguf, spec.cache))
    path = Path(spec.source).expanduser()
    if not path.is_dir():
        path = download_model(spec.source, spec.revision, trust_remote_code=spec.trust_remote_code)
    if not (path / "config.json").is_file():
        raise BadInput(f"model: the folder {spec.source!r} has no config.json; it is not a model")
    require_contained(path, trust_remote_code=spec.trust_remote_code)
    return path


def needs_conversion(spec: ModelSpec) -> bool:
    """Whether `locate` would have to convert a GGUF file first, which takes a while.

    Raises:
        BadInput: there is no such GGUF file or package.
    """
    gguf = gguf_file(spec.source)
    return gguf is not None and not conversion_folder(gguf, spec.cache).is_dir()


def converted_folder(spec: ModelSpec) -> Path | None:
    """Return the folder of a GGUF file's conversion; None where a model needs none.

    Raises:
        BadInput: there is no such GGUF file or package.
    """
    gguf = gguf_file(spec.source)
    return None if gguf is None else conversion_folder(gguf, spec.cache)


def config_folder(spec: ModelSpec) -> Path:
    """Return a local folder with a model's configuration; of a hub id no weights are downloaded.

    Raises:
        BadInput: there is no such model.
    """
    if gguf_file(spec.source) is not None or Path(spec.source).expanduser().is_dir():
        return locate(spec)
    path = download_settings(spec.source, spec.revision, trust_remote_code=spec.trust_remote_code)
    require_contained(path, trust_remote_code=spec.trust_remote_code)
    return path


def locate_adapter(spec: ModelSpec) -> Path | None:
    """Return the local folder of a model's adapter, downloading it if needed; None without an adapter.

    Raises:
        BadInput: there is no such adapter, or its weights are not stored as safetensors.
    """
    if spec.adapter is None:
        return None
    files = (ADAPTER_SETTINGS, ADAPTER_WEIGHTS)
    path = Path(spec.adapter).expanduser()
    if not path.is_dir():
        path = download(spec.adapter, None, files, setting="model.adapter")
    for name in files:
        if not (path / name).is_file():
            raise BadInput(f"model.adapter: the folder {str(path)!r} has no {name}; it is not a LoRA adapter")
    return path


def is_adapter(source: str) -> bool:
    """Whether a local folder has an adapter and no model."""
    path = Path(source).expanduser()
    return (path / ADAPTER_SETTINGS).is_file() and not (path / "config.json").is_file()


def float32_bytes(folder: Path) -> int:
    """Return the bytes that a located model's weights take in float32.

    They are counted from the headers of safetensors files; files of another format are taken to be float16.

    Raises:
        BadInput: a file is damaged.
    """
    total, files = 0, weight_files(folder)
    for path in (path for path in files if path.suffix == ".safetensors"):
        total += sum(4 * math.prod(shape) for shape in _shapes(path))
    return total or 2 * sum(path.stat().st_size for path in files)


def _shapes(path: Path) -> list[list[int]]:
    """The shapes of the tensors in a safetensors file, from its header."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, path.stat().st_size)))
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        return [[int(length) for length in tensor["shape"]] for tensor in tensors]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise BadInput(
            f"model: {str(path)!r} is no whole safetensors file ({in_one_line(problem)}); download it again"
        ) from problem
