"""Find, convert, fingerprint and load language models. Transformers lives here."""

import functools
import hashlib
import importlib.util
import json
import math
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from lincorr.errors import BadInput
from lincorr.tokens import Tokenizer

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.logits import LanguageModel

Precision = Literal["auto", "float32", "float16", "bfloat16"]

PACKAGE_PREFIX = "package:"

# Facts about where a model came from, not what it computes.
_INCIDENTAL_CONFIG = {"_name_or_path", "transformers_version", "_commit_hash"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
# What decides tokens in tokenizer_config.json: the same tokenizer.json under another class splits otherwise.
_TOKENIZER_SETTINGS = ("tokenizer_class", "add_bos_token", "add_eos_token", "add_prefix_space", "legacy")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Facts about how an adapter was made.
_INCIDENTAL_ADAPTER = {"base_model_name_or_path", "revision", "peft_version", "inference_mode", "task_type"}
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


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """SHA-256 digests of what decides a model's logits."""

    config: str
    weights: str
    tokenizer: str

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits over all three."""
        return _joined(self.config, self.weights, self.tokenizer)[:12]


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


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Tokenizer:
    """Load the tokenizer of a located model.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    transformers = _transformers()
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as problem:
        raise BadInput(
            f"model: the tokenizer in {str(folder)!r} cannot be read ({one_line(problem)})"
        ) from problem


def load_config(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a located model's configuration: sizes without weights.

    Raises:
        BadInput: it cannot be read.
    """
    transformers = _transformers()
    try:
        return transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as problem:
        raise BadInput(
            f"model: the configuration in {str(folder)!r} cannot be read ({one_line(problem)})"
        ) from problem


def load_model(spec: ModelSpec) -> "LanguageModel":
    """Locate and load a model onto its device.

    Raises:
        BadInput: there is no such model or adapter, or it is no causal language model.
    """
    import torch

    from lincorr.logits import LanguageModel

    folder, adapter = locate(spec), locate_adapter(spec)
    device = resolve_device(spec.device)
    dtype = getattr(torch, resolve_dtype(spec.dtype, device))
    transformers = _transformers()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
        )
    except Exception as problem:
        raise BadInput(
            f"model: {spec.source!r} cannot be loaded as a causal language model ({one_line(problem)})"
        ) from problem
    if adapter is not None:
        model = _merged(model, adapter)
    tokenizer = load_tokenizer(folder, trust_remote_code=spec.trust_remote_code)
    return LanguageModel(model, tokenizer, device)


def _merged(model: Any, adapter: Path) -> Any:
    """Merge an adapter into a loaded model's weights.

    Raises:
        BadInput: peft is not installed, or the adapter is another model's.
    """
    try:
        import peft
    except ImportError:
        raise BadInput(
            "model.adapter: the package peft is not installed; pip install 'lincorr[lora]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", (FutureWarning, UserWarning))  # what matters is checked below
            wrapped = peft.PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
            known = set(peft.get_peft_model_state_dict(wrapped))
        _require_same_tensors(known, adapter)
        return wrapped.merge_and_unload()
    except BadInput:
        raise
    except Exception as problem:
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model ({one_line(problem)})"
        ) from problem


def _require_same_tensors(known: set[str], adapter: Path) -> None:
    """Refuse an adapter that has others than the model's tensors: peft passes over them in silence."""
    import safetensors

    with safetensors.safe_open(adapter / _ADAPTER_FILES[1], framework="numpy") as file:
        kept = set(file.keys())
    if kept != known:
        odd = min(kept ^ known)
        raise BadInput(
            f"model.adapter: {str(adapter)!r} does not fit this model: {len(kept - known)} of its tensors "
            f"have no place, and {len(known - kept)} places have no tensor ({odd!r}, for one)"
        )


_load_lock = threading.Lock()


def shared_model(spec: ModelSpec) -> "LanguageModel":
    """Return this process's one copy of a model, loading it when first asked for."""
    with _load_lock:
        return _loaded(spec)


def release_model() -> None:
    """Let go of this process's copy, so that a solver has the device for itself."""
    _loaded.cache_clear()


@functools.lru_cache(maxsize=1)
def _loaded(spec: ModelSpec) -> "LanguageModel":
    return load_model(spec)


def resolve_device(device: str) -> str:
    """Turn "auto" into "cuda" where there is a GPU, else "cpu".

    Raises:
        BadInput: a GPU is asked for where there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"model.device: {device!r} is asked for, but torch sees no GPU; use cpu")
    return device


def visible_gpus(device: str) -> int:
    """Return how many GPUs this process sees for a model on `device`: none where that is "cpu"."""
    import torch

    return 0 if device == "cpu" else torch.cuda.device_count()


def resolve_dtype(dtype: Precision, device: str) -> str:
    """Turn "auto" into float32 on a CPU and bfloat16 on a GPU."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.startswith("cuda") else "float32"


def use_threads(threads: int) -> None:
    """Let the models of this process compute with so many threads, also those that are loaded later.

    It does not import torch: a process that only fits has no use for its 0.2 GB.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch reads them when it is imported
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def threads_in_use() -> int:
    """Return how many threads the models of this process compute with."""
    import torch

    return torch.get_num_threads()


def float32_bytes(folder: Path) -> int:
    """Return what the weights of a located model take in float32, from the headers of its files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = (tensor["shape"] for name, tensor in header.items() if name != "__metadata__")
        total += sum(4 * math.prod(shape) for shape in shapes)
    return total or 2 * sum(path.stat().st_size for path in folder.glob("*.bin"))


def fingerprint_of(spec: ModelSpec) -> Fingerprint:
    """Locate a model and its adapter, and hash them (see `fingerprint`)."""
    return fingerprint(locate(spec), locate_adapter(spec))


def fingerprint(folder: Path, adapter: Path | None = None) -> Fingerprint:
    """Hash what decides the logits: configuration, weight files and tokenizer files; an adapter's, too.

    Where the files lie and which version of transformers wrote them does not count.

    Raises:
        BadInput: the folder holds no weights.
    """
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not weights:
        raise BadInput(f"model: the folder {str(folder)!r} holds no weights (*.safetensors)")
    found = Fingerprint(
        config=_hash_settings(folder / "config.json", _INCIDENTAL_CONFIG),
        weights=_hash_files(weights),
        tokenizer=_hash_tokenizer(folder),
    )
    if adapter is None:
        return found
    settings, tensors = (adapter / name for name in _ADAPTER_FILES)
    return replace(
        found,
        config=_joined(found.config, _hash_settings(settings, _INCIDENTAL_ADAPTER)),
        weights=_joined(found.weights, _hash_files([tensors])),
    )


def one_line(problem: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def _transformers() -> Any:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _hash_settings(path: Path, incidental: set[str]) -> str:
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as problem:
        raise BadInput(f"model: {str(path)!r} is no valid JSON ({problem}); get it again") from None
    kept = {key: value for key, value in settings.items() if key not in incidental}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _joined(*digests: str) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _hash_files(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _hash_tokenizer(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    kept = [settings.get(name) for name in _TOKENIZER_SETTINGS]
    files = _hash_files(folder / name for name in _TOKENIZER_FILES)
    return hashlib.sha256(f"{files}{json.dumps(kept)}".encode()).hexdigest()


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
