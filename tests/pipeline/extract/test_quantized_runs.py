"""Quantised checkpoints end to end: what a store has, and what it is not mixed with."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from lincorr.errors import LincorrError
from lincorr.model.load import release_model
from lincorr.store.store import LogitStore
from lincorr.testing import save_toy_model
from pipeline.cli.main import main
from pipeline.extract.shard import require_quantization
from tests.lincorr.model.quantised import (
    AWQ,
    FP8,
    GPTQ,
    INT8,
    changed,
    to_awq,
    to_fp8,
    to_gptq,
    to_int8,
)
from tests.pipeline.extract.extraction import TEMPLATES, extract_here


def extracted(model: Path, folder: Path, flags: list[str]) -> LogitStore:
    store = folder / f"{model.name}.zarr"
    extract_here(store, options_of(model, flags))
    return LogitStore.open(str(store))


def options_of(model: Path, flags: list[str]) -> list[str]:
    return [*flags, "--model", str(model), "--model-device", "cpu"]


def require_own_logits(store: LogitStore, model: Path) -> None:
    """Compare stored logits with what transformers says to plain prompts, on the same quantised weights."""
    own: Any = transformers.AutoModelForCausalLM.from_pretrained(
        model, device_map={"": "cpu"}, dtype=torch.float32
    )
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
    rows = np.arange(6)
    texts = store.subjects(rows).texts
    for template, text in TEMPLATES.items():
        ids = store.column_ids(template)
        found = store.logits(template, ids, rows)
        for row, subject in enumerate(texts):
            prompt = tokenizer.encode(text.format(subject).strip(), return_tensors="pt")
            with torch.inference_mode():
                expected = own(prompt).logits[0, -1].float().numpy()
            np.testing.assert_allclose(found[row], expected[ids], atol=1e-3 * expected.std())


def test_a_store_remembers_its_quantisation_and_refuses_the_plain_model(
    toy_model: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = changed(toy_model, tmp_path / "fp8", FP8, to_fp8)
    store = extracted(model, tmp_path, flags)
    require_own_logits(store, model)
    assert store.identity.quantization.startswith('fp8 made plain {"activation_scheme": "dynamic"')
    before = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "fp8.zarr").rglob("*"))}
    capsys.readouterr()
    assert main(["extract", *options_of(toy_model, flags), "--store", store.url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model: another model: its configuration differs" in line
    assert before == {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "fp8.zarr").rglob("*"))}


def test_a_device_that_computes_otherwise_is_refused(undisturbed: Path) -> None:
    """On a GPU weights stay FP8, where a CPU made them plain."""
    identity = LogitStore.open(str(undisturbed)).identity
    assert identity.quantization == ""

    class Model:
        quantization = 'fp8 {"quant_method": "fp8"}'

    model: Any = Model()
    require_quantization(model, identity)  # an older store does not know
    made = type(identity).from_json(
        {name: getattr(identity, name) for name in identity.__slots__}
        | {"quantization": 'fp8 made plain {"quant_method": "fp8"}'}
    )
    with pytest.raises(LincorrError, match=r"weights as fp8, and .* as fp8 made plain") as caught:
        require_quantization(model, made)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the packages, about each other
@pytest.mark.parametrize(
    ("package", "method"),
    [
        ("torchao", "torchao"),
        ("bitsandbytes", "bitsandbytes_4bit"),
        ("compressed_tensors", "compressed-tensors"),
        ("gptqmodel", "gptq"),
        ("gptqmodel", "awq"),
    ],
)
def test_a_quantised_checkpoint_is_asked_as_transformers_computes_it(
    package: str, method: str, tmp_path: Path, flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for needed in (package, *(["optimum"] if method == "gptq" else [])):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed; pip install --no-deps {needed.replace('_', '-')}")
    plain = save_toy_model(tmp_path / "plain", width=128)
    model = made_by(method, plain, tmp_path / "quantised")
    release_model()
    capfd.readouterr()
    store = extracted(model, tmp_path, flags)
    json.loads(capfd.readouterr().out)  # whatever a package prints is not among it
    assert store.identity.quantization.startswith(f"{method} {{")
    assert store.identity.passes == "trunk"
    assert store.identity.hidden
    require_own_logits(store, model)


@pytest.mark.slow
def test_products_that_depend_on_other_tokens_are_refused(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """bitsandbytes takes columns with a large number out of its 8-bit products, whosever it is."""
    pytest.importorskip("bitsandbytes", reason="pip install --no-deps bitsandbytes")
    plain = save_toy_model(tmp_path / "plain", width=128)
    settings: Any = transformers.BitsAndBytesConfig(load_in_8bit=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=settings)
    model.save_pretrained(tmp_path / "int8")
    transformers.AutoTokenizer.from_pretrained(plain).save_pretrained(tmp_path / "int8")
    options = ["--store", str(tmp_path / "store.zarr"), "--cluster-kind", "serial"]
    assert main(["extract", *options_of(tmp_path / "int8", flags), *options]) == 2
    assert "is not causal as it is quantised: " in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "store.zarr").exists()


BY_HAND = {"compressed-tensors": (INT8, to_int8), "gptq": (GPTQ, to_gptq), "awq": (AWQ, to_awq)}


def made_by(method: str, plain: Path, folder: Path) -> Path:
    """A checkpoint quantised by a method."""
    if method in BY_HAND:
        return changed(plain, folder, *BY_HAND[method])
    if method == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        settings: Any = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    else:
        settings = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=settings)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(plain).save_pretrained(folder)
    return folder
