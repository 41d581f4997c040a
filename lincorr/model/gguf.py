"""GGUF files: found in a folder or an installed package, and converted once into a folder of safetensors."""

import functools
import hashlib
import importlib.util
import io
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any
from uuid import uuid4

import platformdirs
import psutil

from lincorr.errors import BadInput, in_one_line
from lincorr.model.huggingface import quiet_transformers
from lincorr.model.weights import require_weights

PACKAGE_PREFIX = "package:"


def gguf_file(source: str) -> Path | None:
    """Return the GGUF file that a model's source names; None if it names something else.

    Raises:
        BadInput: there is no such file or package.
    """
    if source.startswith(PACKAGE_PREFIX):
        return _package_file(source.removeprefix(PACKAGE_PREFIX))
    path = Path(source).expanduser()
    if path.suffix != ".gguf":
        return None
    if not path.is_file():
        raise BadInput(f"model: {source!r} is not a file; give the path of a .gguf file")
    return path


def conversion_folder(gguf: Path, cache: str | None) -> Path:
    """Return the folder for a GGUF file's conversion, named after its content; it need not exist yet.

    Args:
        cache: folder for converted models; None is the user's cache folder.
    """
    models = Path(cache or platformdirs.user_cache_path("lincorr")) / "models"
    found = gguf.stat()
    return models / f"{gguf.stem}-{_digest(gguf, found.st_size, found.st_mtime_ns)}"


@functools.lru_cache
def _digest(gguf: Path, size: int, changed: int) -> str:
    """Return 16 hexadecimal digits of a file's digest; a process asks for them five times, and reads it once.

    Args:
        size, changed: of the file, in bytes and nanoseconds: another content is read again.
    """
    with gguf.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def convert(gguf: Path, folder: Path) -> Path:
    """Convert a GGUF file into a folder that transformers can load, unless it exists; return the folder.

    The folder appears complete or not at all, also when several processes convert at once.

    Raises:
        BadInput: the file cannot be read or lacks tensors, or the folder cannot be written.
    """
    if folder.is_dir():
        return folder
    cache = folder.parent
    partial = cache / f"{_partial_of_host()}{os.getpid()}-{uuid4().hex}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache)
        partial.mkdir()
    except OSError as problem:
        raise BadInput(f"model.cache: {str(cache)!r} cannot be written ({problem})") from None
    try:
        _write_converted(gguf, partial)
        for file in partial.iterdir():  # safetensors keeps its own from other users of the cache
            file.chmod(partial.stat().st_mode & 0o666)
        os.replace(partial, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _partial_of_host() -> str:
    """Return how the names of unfinished folders of this host begin; its process follows."""
    return f".partial-{socket.gethostname()}-"


def _remove_abandoned(cache: Path) -> None:
    """Delete what killed conversions of this host left behind."""
    for folder in cache.glob(f"{_partial_of_host()}*"):
        maker = folder.name.removeprefix(_partial_of_host()).partition("-")[0]
        if maker.isdecimal() and not psutil.pid_exists(int(maker)):
            shutil.rmtree(folder, ignore_errors=True)


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


def _write_converted(gguf: Path, folder: Path) -> None:
    import torch
    from gguf import GGUFReader

    transformers = quiet_transformers()
    # tqdm writes a new bar for each few tensors where no terminal draws it over the last.
    no_bar = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    try:
        reader = GGUFReader(gguf)
        _require_one_file(reader, gguf)
        # Alone in a folder: transformers would read what lies beside it, or ask whether to run code of it.
        with tempfile.TemporaryDirectory() as alone:
            _put(gguf, Path(alone))
            options = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
            with no_bar:
                model, loading = transformers.AutoModelForCausalLM.from_pretrained(
                    alone,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are refused below, by name
                    **options,
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(alone, **options)
    except BadInput:
        raise
    except Exception as problem:
        raise BadInput(f"model: {str(gguf)!r} cannot be read ({in_one_line(problem)})") from problem
    require_weights(model, loading, str(gguf))
    _require_all_used([tensor.name for tensor in reader.tensors], model, gguf)
    # The weights are plain float32 now; transformers refuses to save a model that it calls quantised.
    model.hf_quantizer = None
    del model.config.quantization_config
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as problem:  # of a full disk, safetensors raises a class of its own
        raise BadInput(
            f"model.cache: {str(folder.parent)!r} cannot be written ({in_one_line(problem)}); free space "
            "there, or name another folder"
        ) from problem


def _put(file: Path, folder: Path) -> None:
    try:
        (folder / file.name).symlink_to(file.resolve())
    except OSError:  # Windows lets few users make links
        shutil.copyfile(file, folder / file.name)


def _require_one_file(reader: Any, path: Path) -> None:
    parts = reader.get_field("split.count")
    if parts is not None and int(parts.contents()) > 1:
        raise BadInput(
            f"model: {str(path)!r} is one of {int(parts.contents())} files; join them first: "
            "llama-gguf-split --merge FIRST.gguf WHOLE.gguf"
        )


def _require_all_used(tensors: Sequence[str], model: Any, path: Path) -> None:
    """Refuse layers and biases that transformers passes over in silence."""
    layers = model.config.get_text_config().num_hidden_layers
    biased = any(name.endswith("bias") for name, _ in model.named_parameters())
    for name in tensors:
        layer = re.match(r"blk\.(\d+)\.", name)
        lost_bias = not biased and re.search(r"\.(attn|ffn)_\w+\.bias$", name)
        if (layer and int(layer[1]) >= layers) or lost_bias:
            raise BadInput(
                f"model: {str(path)!r} has a tensor {name!r} for which its architecture, as transformers "
                "knows it, has no use; get the model in Hugging Face's own format"
            )
