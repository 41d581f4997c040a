"""What a fingerprint changes with."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from lincorr.errors import BadInput
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint, fingerprint_of, weights_ahead
from tests.lincorr.model.edits import edit_json


def changed(folder: Path, change: Callable[[Path], None]) -> set[str]:
    """Which parts of the fingerprint `change` changes."""
    before = fingerprint_of(ModelSpec(str(folder)))
    change(folder)
    after = fingerprint_of(ModelSpec(str(folder)))
    parts = {name for name in Fingerprint.__slots__ if getattr(before, name) != getattr(after, name)}
    assert (before.short != after.short) is bool(parts)
    return parts


def nudge_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    name = next(iter(tensors))
    tensors[name].flat[0] += 1e-3
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})


def swap_two_tokens(folder: Path) -> None:
    def swap(vocabulary: dict[str, int]) -> None:
        vocabulary["ĠTokyo"], vocabulary["ĠParis"] = vocabulary["ĠParis"], vocabulary["ĠTokyo"]

    edit_vocabulary(folder, swap)


def edit_vocabulary(folder: Path, edit: Callable[[dict[str, int]], Any]) -> None:
    path = folder / "tokenizer.json"
    settings = json.loads(path.read_text("utf-8"))
    edit(settings["model"]["vocab"])
    path.write_text(json.dumps(settings), "utf-8")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (nudge_a_weight, {"weights"}),
        (swap_two_tokens, {"tokenizer", "tokens"}),
        (lambda f: edit_json(f / "tokenizer_config.json", tokenizer_class="LlamaTokenizer"), {"tokenizer"}),
        (lambda f: edit_json(f / "tokenizer_config.json", add_bos_token=True), {"tokenizer"}),
        (lambda f: edit_json(f / "tokenizer_config.json", extra_special_tokens={"x": "ciao"}), {"tokens"}),
        (lambda f: edit_json(f / "tokenizer_config.json", bos_token="</s>"), {"tokens"}),
        (lambda f: edit_json(f / "config.json", rms_norm_eps=1e-3), {"config"}),
        (lambda f: edit_json(f / "config.json", transformers_version="4.0.0"), set()),
        (lambda f: edit_json(f / "config.json", _name_or_path="elsewhere"), set()),
        (lambda f: edit_json(f / "tokenizer_config.json", chat_template="{{ x }}"), set()),
        (lambda f: (f / "README.md").write_text("hello"), set()),
    ],
)
def test_fingerprint_changes_with_what_decides_logits(
    model_folder: Path, change: Callable[[Path], None], expected: set[str]
) -> None:
    assert changed(model_folder, change) == expected


def test_fingerprint_does_not_depend_on_the_place(toy_model: Path, model_folder: Path) -> None:
    assert fingerprint_of(ModelSpec(str(toy_model))) == fingerprint_of(ModelSpec(str(model_folder)))


def test_fingerprint_in_short_is_twelve_hexadecimal_digits(toy_model: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", fingerprint_of(ModelSpec(str(toy_model))).short)


def test_mistrals_tokens_depend_on_what_the_files_digests_leave_out(model_folder: Path) -> None:
    """transformers mends how old and large vocabularies of Mistral are split, where it is told to."""

    def found(version: str, mend: bool) -> Fingerprint:
        edit_json(model_folder / "config.json", model_type="mistral", transformers_version=version)
        edit_json(model_folder / "tokenizer_config.json", fix_mistral_regex=mend)
        return fingerprint_of(ModelSpec(str(model_folder)))

    edit_vocabulary(
        model_folder, lambda known: known.update({f"w{i}": len(known) + i for i in range(100_001)})
    )
    mended, newer, plain = found("4.50.0", True), found("5.1.0", True), found("4.50.0", False)
    assert mended != newer == plain
    assert replace(mended, tokens=plain.tokens) == plain


def test_weights_hashed_beside_other_work_have_the_same_digest(toy_model: Path, tmp_path: Path) -> None:
    assert weights_ahead(toy_model)() == fingerprint_of(ModelSpec(str(toy_model))).weights
    missing = weights_ahead(tmp_path)
    with pytest.raises(BadInput, match="has no weights"):
        missing()


def test_the_files_of_a_model_are_hashed_at_once(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = safetensors.numpy.load_file(model_folder / "model.safetensors")
    (model_folder / "model.safetensors").unlink()
    parts = {f"model-{i}.safetensors": list(tensors)[i::2] for i in (0, 1)}
    for part, names in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in names}, model_folder / part)
    where = {name: part for part, names in parts.items() for name in names}
    (model_folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    digests = [hashlib.sha256((model_folder / part).read_bytes()).digest() for part in parts]
    both, plainly = threading.Barrier(2, timeout=30), hashlib.file_digest

    def meet(file: Any, algorithm: Any) -> Any:
        both.wait()  # for the other file's
        return plainly(file, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", meet)
    assert weights_ahead(model_folder)() == hashlib.sha256(b"".join(digests)).hexdigest()
