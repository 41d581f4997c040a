"""Find a model's files: a local folder, a hub id, a GGUF file or a package's data."""

import hashlib
import importlib.util
import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs

from lincorr.errors import BadInput

Precision = Literal["auto", "float32", "float16", "bfloat16"]


PACKAGE_PREFIX = "package:"


_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


_HUB_FILES = ["*.json", "*.safetensors", "tokenizer.model", "merges.txt", "*.jinja"]


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
        trust_remote_code: run model code that comes with the download. Off unless asked for.
        cache: folder for converted models; None is the user's cache folder.
    """

    source: str
    revision: str | None = None
    adapter: str | None = None
    dtype: Precision = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    cache: str | None = None

    @property
    def described(self) -> str:
        """The source, and the adapter where there is one: ``source + adapter``."""
        return self.source if self.adapter is None else f"{self.source} + {self.adapter}"


def model_name(described: str) -> str:
    """Return a short name for a model (see `ModelSpec.described`), good for files and titles."""
    return "+".join(Path(part).name.removesuffix(".gguf") for part in described.split(" + "))


def locate(spec: ModelSpec) -> Path:
    """Return a local folder that transformers can load, downloading or converting when needed.

    Raises:
        BadInput: there is no such model.
    """
    gguf = _gguf_file(spec.source)
    if gguf is not None:
        return _converted(gguf, _conversion_folder(gguf, spec))
    path = Path(spec.source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BadInput(f"model: the folder {spec.source!r} holds no config.json; it is not a model")
        return path
    return _download(spec)


def locate_adapter(spec: ModelSpec) -> Path | None:
    """Return the local folder of a model's adapter, downloading it when needed; None without one.

    Raises:
        BadInput: there is no such adapter, or its weights are not kept as safetensors.
    """
    if spec.adapter is None:
        return None
    path = Path(spec.adapter).expanduser()
    if not path.is_dir():
        path = _download(replace(spec, source=spec.adapter, revision=None), _ADAPTER_FILES)
    for name in _ADAPTER_FILES:
        if not (path / name).is_file():
            raise BadInput(f"model.adapter: the folder {str(path)!r} holds no {name}; it is no LoRA adapter")
    return path


def is_adapter(source: str) -> bool:
    """Whether a local folder holds an adapter and no model."""
    path = Path(source).expanduser()
    return (path / _ADAPTER_FILES[0]).is_file() and not (path / "config.json").is_file()


def config_folder(spec: ModelSpec) -> Path:
    """Return a local folder with a model's configuration; of a hub id nothing else is downloaded.

    Raises:
        BadInput: there is no such model.
    """
    if _gguf_file(spec.source) is None and not Path(spec.source).expanduser().is_dir():
        return _download(spec, ["*.json"])
    return locate(spec)


def needs_conversion(spec: ModelSpec) -> bool:
    """Whether `locate` would have to convert a GGUF file first, which takes a while."""
    gguf = _gguf_file(spec.source)
    return gguf is not None and not _conversion_folder(gguf, spec).is_dir()


def float32_bytes(folder: Path) -> int:
    """Return what the weights of a located model take in float32, from the headers of its files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = (tensor["shape"] for name, tensor in header.items() if name != "__metadata__")
        total += sum(4 * math.prod(shape) for shape in shapes)
    return total or 2 * sum(path.stat().st_size for path in folder.glob("*.bin"))


def one_line(problem: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def _transformers() -> Any:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _package_file(name: str) -> Path:
    """Find a file of an installed package, without importing the package."""
    package, _, file = name.partition("/")
    mend = f"install the package, or check the name: {PACKAGE_PREFIX}name/file.gguf"
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None:
        raise BadInput(f"model: there is no installed package {package!r}; {mend}")
    for folder in found.submodule_search_locations or ():
        path = Path(folder) / file
        if path.is_file() and path.suffix == ".gguf":
            return path
    raise BadInput(f"model: package {package!r} has no file {file!r}; {mend}")


def _download(spec: ModelSpec, files: Sequence[str] = _HUB_FILES) -> Path:
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(spec.source, revision=spec.revision, allow_patterns=list(files))
        )
    except Exception as problem:
        raise BadInput(
            f"model: {spec.source!r} is no local folder, no .gguf file, and cannot be had from the "
            f"hub ({one_line(problem)})"
        ) from problem


def _gguf_file(source: str) -> Path | None:
    """Return the GGUF file that a source names, None if it names something else."""
    if source.startswith(PACKAGE_PREFIX):
        return _package_file(source.removeprefix(PACKAGE_PREFIX))
    path = Path(source).expanduser()
    if path.suffix != ".gguf":
        return None
    if not path.is_file():
        raise BadInput(f"model: {source!r} is not a file; give the path of a .gguf file")
    return path


def _conversion_folder(gguf: Path, spec: ModelSpec) -> Path:
    """Where a GGUF file's conversion is kept: named after its content."""
    cache = Path(spec.cache or platformdirs.user_cache_path("lincorr")) / "models"
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return cache / f"{gguf.stem}-{digest}"


def _converted(gguf: Path, folder: Path) -> Path:
    """Convert a GGUF file into a folder, unless it is there; it appears whole or not at all."""
    if folder.is_dir():
        return folder
    cache = folder.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{gguf.stem}-", dir=cache))
    except OSError as problem:
        raise BadInput(f"model.cache: {str(cache)!r} cannot be written ({problem})") from None
    try:
        _convert(gguf, partial)
        os.replace(partial, folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch

    transformers = _transformers()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except Exception as problem:
        raise BadInput(f"model: {str(gguf)!r} cannot be read ({one_line(problem)})") from problem
    # The weights are plain float32 now; transformers refuses to save a model that it calls quantised.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
