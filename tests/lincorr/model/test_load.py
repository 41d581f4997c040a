"""Where models come from, what identifies them, and what is refused."""

import gc
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import safetensors.numpy
import torch
from transformers import AutoModelForCausalLM

from lincorr.model.checks import check_readout
from lincorr.model.device import resolve_device, resolve_dtype
from lincorr.model.files import ModelSpec, float32_bytes, is_adapter, locate, model_name, needs_conversion
from lincorr.model.fingerprint import fingerprint_of
from lincorr.model.language_model import LanguageModel
from lincorr.model.load import (
    load_config,
    load_model,
    load_tokenizer,
    release_model,
    shared_model,
)
from tests.lincorr.model.edits import edit_json
from tests.lincorr.model.refused import refusal

# --- loading ------------------------------------------------------------------------------------------


def test_a_folder_is_located_as_it_is(toy_model: Path) -> None:
    spec = ModelSpec(str(toy_model))
    assert locate(spec) == toy_model
    assert not needs_conversion(spec)


def test_a_loaded_folder_gives_its_own_logits(toy_model: Path) -> None:
    ids = np.array([[5, 80, 120]])
    with torch.inference_mode():
        own = AutoModelForCausalLM.from_pretrained(toy_model)(torch.from_numpy(ids)).logits[:, -1]
    model = load_model(ModelSpec(str(toy_model), device="cpu"))
    np.testing.assert_allclose(model.logits(ids), own.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cuda", "bfloat16"),
        ("auto", "cuda:1", "bfloat16"),
        ("float16", "cuda", "float16"),
    ],
)
def test_precision_follows_the_device_unless_given(asked: Any, device: str, expected: str) -> None:
    assert resolve_dtype(asked, device) == expected


def test_weights_are_loaded_in_the_precision_asked_for(toy_model: Path) -> None:
    model = load_model(ModelSpec(str(toy_model), dtype="bfloat16", device="cpu"))
    assert model.dtype == "bfloat16"


def test_a_gpu_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    assert refusal(lambda: resolve_device("cuda")).startswith("model.device: 'cuda' ")


@pytest.fixture
def _no_shared_model() -> Iterator[None]:
    release_model()
    yield
    release_model()


@pytest.mark.usefixtures("_no_shared_model")
def test_a_process_loads_a_model_once_until_it_lets_go(toy_model: Path) -> None:
    spec = ModelSpec(str(toy_model), device="cpu")
    first = shared_model(spec)
    assert shared_model(spec) is first
    assert shared_model(replace(spec, dtype="float32")) is first
    release_model()
    assert shared_model(spec) is not first


@pytest.mark.usefixtures("_no_shared_model")
def test_a_process_lets_go_of_a_model_before_it_loads_another(
    toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(str(toy_model), device="cpu")
    first = weakref.ref(shared_model(spec))

    def loading(another: ModelSpec) -> LanguageModel:
        gc.collect()
        assert first() is None
        return load_model(another)

    monkeypatch.setattr("lincorr.model.load.load_model", loading)
    assert shared_model(replace(spec, dtype="bfloat16")).dtype == "bfloat16"


# --- what is no model ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nobody/nothing", "neither a local folder nor in the hub's cache"),
        ("missing/folder/model.gguf", "is not a file"),
        ("package:no_such_package/model.gguf", "no installed package 'no_such_package'"),
        ("package:not-a-name/model.gguf", "no installed package 'not-a-name'"),
        ("package:transformers/model.gguf", "package 'transformers' has no file 'model.gguf'"),
        ("package:transformers/__init__.py", "has no file '__init__.py'"),
    ],
)
def test_an_unknown_source_is_refused(source: str, says: str) -> None:
    message = refusal(lambda: locate(ModelSpec(source)))
    assert message.startswith("model: ")
    assert says in message


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(lambda: locate(ModelSpec(str(tmp_path))))


def test_a_folder_without_weights_is_refused(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    assert "has no weights" in refusal(lambda: fingerprint_of(ModelSpec(str(model_folder))))
    assert "cannot be loaded" in refusal(lambda: load_model(ModelSpec(str(model_folder))))


def test_a_folder_without_a_tokenizer_is_refused(model_folder: Path) -> None:
    for file in model_folder.glob("tokenizer*"):
        file.unlink()
    assert "has no tokenizer; save it there, too" in refusal(lambda: load_tokenizer(model_folder))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_configuration_that_cannot_be_read_is_not_called_a_tokenizer(
    model_folder: Path, content: str
) -> None:
    (model_folder / "config.json").write_text(content)  # which transformers reads for the tokenizer, too
    assert refusal(lambda: load_tokenizer(model_folder)).startswith("model: the configuration in ")


def test_a_damaged_configuration_is_refused(model_folder: Path) -> None:
    (model_folder / "config.json").write_text("{")
    assert refusal(lambda: load_config(model_folder)).startswith("model: the configuration in ")


# --- code that comes with a model ---------------------------------------------------------------------


@pytest.fixture
def custom_code(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder whose code leaves a file `ran` behind when it runs."""
    edit_json(
        model_folder / "config.json",
        model_type="homemade",
        auto_map={"AutoConfig": "homemade.Config", "AutoModelForCausalLM": "homemade.Model"},
    )
    edit_json(
        model_folder / "tokenizer_config.json",
        tokenizer_class="HomemadeTokenizer",
        auto_map={"AutoTokenizer": ["homemade.Tokenizer", None]},
    )
    (model_folder / "homemade.py").write_text(
        f"from pathlib import Path\nPath({str(model_folder / 'ran')!r}).touch()\n"
        "from transformers import LlamaConfig\n\n\n"
        'class Config(LlamaConfig):\n    model_type = "homemade"\n'
    )
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(model_folder.parent / "modules")
    )
    return model_folder


def test_a_models_own_code_is_refused_and_not_run(custom_code: Path) -> None:
    for load in (load_config, load_tokenizer, lambda folder: load_model(ModelSpec(str(folder)))):
        refusal(lambda load=load: load(custom_code))  # type: ignore[misc]
    assert not (custom_code / "ran").exists()


def test_a_models_own_code_runs_when_trusted(custom_code: Path) -> None:
    config = load_config(custom_code, trust_remote_code=True)
    assert config.model_type == "homemade"
    assert (custom_code / "ran").exists()


def test_weights_are_counted_in_float32(toy_model: Path, tmp_path: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(toy_model)
    expected = 4 * sum(weight.numel() for weight in model.parameters())
    assert float32_bytes(toy_model) == expected
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert float32_bytes(tmp_path / "half") == expected


# --- LoRA adapters --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")  # between peft and transformers
def test_an_adapter_gives_pefts_own_logits(toy_model: Path, toy_adapter: Path) -> None:
    ids = np.arange(5, 11)[None]
    plain = load_model(ModelSpec(str(toy_model), device="cpu")).logits(ids)
    found = load_model(ModelSpec(str(toy_model), adapter=str(toy_adapter), device="cpu")).logits(ids)
    unmerged = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(toy_model), toy_adapter)
    with torch.inference_mode():
        expected = unmerged(torch.from_numpy(ids)).logits[:, -1].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - plain).max() > 1e-2


def test_an_adapter_is_part_of_the_fingerprint(toy_model: Path, toy_adapter: Path, tmp_path: Path) -> None:
    copy = tmp_path / "adapter"
    shutil.copytree(toy_adapter, copy)
    spec = ModelSpec(str(toy_model), adapter=str(copy))
    with_it, without = fingerprint_of(spec), fingerprint_of(replace(spec, adapter=None))
    assert (with_it.config != without.config, with_it.weights != without.weights) == (True, True)
    assert with_it.tokenizer == without.tokenizer
    edit_json(copy / "adapter_config.json", base_model_name_or_path="elsewhere")
    assert fingerprint_of(spec) == with_it
    edit_json(copy / "adapter_config.json", lora_alpha=99)
    assert fingerprint_of(spec) != with_it


def test_what_is_no_adapter_is_refused(toy_model: Path, toy_adapter: Path, tmp_path: Path) -> None:
    def load(adapter: Path) -> str:
        return refusal(lambda: load_model(ModelSpec(str(toy_model), adapter=str(adapter), device="cpu")))

    assert "has no adapter_config.json" in load(toy_model)
    pickled = tmp_path / "pickled"  # peft's older files would be unpickled
    shutil.copytree(toy_adapter, pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    assert "has no adapter_model.safetensors" in load(pickled)
    other = tmp_path / "other"
    shutil.copytree(toy_adapter, other)
    edit_json(other / "adapter_config.json", target_modules=["no_such_layer"])
    assert load(other).startswith("model.adapter: ")
    another = tmp_path / "another"  # peft would pass over its tensors in silence
    shutil.copytree(toy_adapter, another)
    tensors = safetensors.numpy.load_file(another / "adapter_model.safetensors")
    renamed = {name.replace("layers.1", "layers.7"): tensor for name, tensor in tensors.items()}
    safetensors.numpy.save_file(renamed, another / "adapter_model.safetensors", metadata={"format": "pt"})
    assert "4 tensors that the model does not expect, and 4 are missing" in load(another)
    (another / "adapter_config.json").write_text("{")
    assert "is not valid JSON" in refusal(
        lambda: fingerprint_of(ModelSpec(str(toy_model), adapter=str(another)))
    )
    assert is_adapter(str(toy_adapter))
    assert not is_adapter(str(toy_model))


def test_a_model_with_an_adapter_is_named_after_both() -> None:
    spec = ModelSpec("/models/llama.gguf", adapter="adapters/chat")
    assert model_name(spec.described) == "llama+chat"


# --- GGUF ---------------------------------------------------------------------------------------------


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    spec = ModelSpec(str(path), cache=str(tmp_path / "cache"))
    assert needs_conversion(spec)
    assert "cannot be read" in refusal(lambda: locate(spec))
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for name in ("model.gguf", "file"):
        (tmp_path / name).write_bytes(b"GGUF")
    spec = ModelSpec(str(tmp_path / "model.gguf"), cache=str(tmp_path / "file"))
    assert refusal(lambda: locate(spec)).startswith("model.cache: ")


@pytest.mark.real_model
def test_a_converted_gguf_is_kept_and_loads(real_model: str, tmp_path: Path) -> None:
    spec = ModelSpec(real_model, device="cpu", cache=str(tmp_path))
    assert needs_conversion(spec)
    folder = locate(spec)
    assert not needs_conversion(spec)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [folder.name]  # no leftovers

    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate(spec) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written

    model = load_model(spec)
    prompt = np.array([model.tokenizer("The capital of France is")["input_ids"]])
    assert model.tokenizer.decode([model.logits(prompt).argmax()]) == " Paris"
    assert check_readout(model).passed
