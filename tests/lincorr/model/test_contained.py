"""A model is its folder: nothing else is read, and no code is run, whatever its files say."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lincorr.errors import BadInput
from lincorr.model.files import ModelSpec, float32_bytes, locate
from lincorr.model.gguf import convert
from lincorr.model.load import load_config, load_model, load_tokenizer
from lincorr.prompts.tokenization import tokenization

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(toy_model: Path, tmp_path: Path) -> Path:
    """A copy of the toy model that a test may change."""
    return Path(shutil.copytree(toy_model, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(found | changes))


def index_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "x.safetensors")
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"w": "../x.safetensors"}}))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (index_outside, "../x.safetensors"),
        (lambda f: edit(f / INDEX, weight_map={"w": "/x.safetensors"}), "/x.safetensors"),
        (lambda f: edit(f / INDEX, weight_map={"w": "..\\x.safetensors"}), "x.safetensors"),
        (lambda f: edit(f / INDEX, weight_map=[]), "weight_map"),
        (lambda f: (f / INDEX).write_text("[" * 100_000), INDEX),
        (lambda f: edit(f / "config.json", transformers_weights="other.safetensors"), "other.safetensors"),
        (
            lambda f: edit(f / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.0.json"]),
            "../tokenizer.4.0.0.json",
        ),
        (lambda f: edit(f / "config.json", attn_implementation="their/kernel"), "their/kernel"),
        (lambda f: edit(f / "config.json", text_config={"attn_implementation": {"": "a/b@1"}}), "a/b@1"),
        (lambda f: (f / "config.json").write_text("[]"), "mapping"),
    ],
)
def test_a_model_that_names_what_is_not_its_own_is_refused(
    folder: Path, change: Callable[[Path], None], names: str
) -> None:
    change(folder)
    with pytest.raises(BadInput) as refused:
        locate(ModelSpec(str(folder)))
    assert names in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_kernel_may_be_trusted(folder: Path) -> None:
    edit(folder / "config.json", attn_implementation="their/kernel")
    assert locate(ModelSpec(str(folder), trust_remote_code=True)) == folder


def test_code_of_a_model_is_refused_with_the_setting_that_trusts_it(folder: Path) -> None:
    edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Config"})
    for load in (load_config, lambda folder: load_model(ModelSpec(str(folder)))):
        with pytest.raises(BadInput, match=r"set model\.trust_remote_code"):
            load(folder)


def test_a_tokenizer_that_cannot_encode_is_refused_when_it_is_loaded(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", model_max_length="long")
    with pytest.raises(BadInput, match=r"the tokenizer in .* cannot be read"):
        load_tokenizer(folder)


def test_a_special_token_that_does_not_exist_is_none(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", bos_token="")
    assert tokenization(load_tokenizer(folder))


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 9, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2) + b'{"']
)
def test_weights_that_are_no_safetensors_are_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="is no whole safetensors file"):
        float32_bytes(folder)


def test_a_gguf_file_is_converted_alone(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies beside it is not read; code there is neither asked about nor run."""
    import transformers

    gguf = tmp_path / "beside" / "tiny.gguf"
    gguf.parent.mkdir()
    gguf.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    edit(gguf.parent / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    (gguf.parent / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    seen: list[list[str]] = []

    def read(source: str, **options: Any) -> Any:
        seen.append([path.name for path in Path(source).iterdir()])
        assert options.get("trust_remote_code") is False
        raise OSError("enough")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", read)
    with pytest.raises(BadInput, match="enough"):
        convert(gguf, tmp_path / "cache" / "tiny")
    assert seen == [["tiny.gguf"]]
    assert not (tmp_path / "ran").exists()
