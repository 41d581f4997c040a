"""Models whose logits are no numbers: the cause is named, and no store is left that refuses the mend."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lincorr.errors import LincorrError
from lincorr.prompts.subjects import vocabulary_subjects
from lincorr.store.store import LogitStore
from lincorr.testing import save_toy_model, toy_tokenizer
from pipeline.cli.main import main
from pipeline.run import Run
from pipeline.runtime.executor import Serial
from tests.pipeline.cli.toy import write_catalogue

Change = Callable[[dict[str, np.ndarray]], None]


@pytest.fixture
def spoilt(toy_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Returns a copy of the toy model with other weights."""

    def spoil(change: Change, toy: Path = toy_model) -> Path:
        model = Path(shutil.copytree(toy, tmp_path / "model"))
        weights = load_file(model / "model.safetensors")
        change(weights)
        save_file(weights, model / "model.safetensors", {"format": "pt"})
        return model

    return spoil


def extract(folder: Path, store: Path, model: Path, *flags: str) -> int:
    """Extract 64 tokens in this process."""
    options = {
        "--model": model,
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--store": store,
        "--subjects-count": 64,
        "--store-shard-rows": 64,
        "--cluster-kind": "serial",
    }
    return main(["extract", *(str(part) for option in options.items() for part in option), *flags])


def nan(weights: dict[str, np.ndarray]) -> None:
    weights["model.layers.1.mlp.down_proj.weight"][3, 4] = np.nan


def infinite(weights: dict[str, np.ndarray]) -> None:
    weights["model.layers.0.self_attn.q_proj.weight"][0, 0] = np.inf


def zero(weights: dict[str, np.ndarray]) -> None:
    for weight in weights.values():
        weight[:] = 0


def scaled(factor: float) -> Change:
    def scale(weights: dict[str, np.ndarray]) -> None:
        for name, weight in weights.items():
            if "down_proj" in name:
                weight *= factor

    return scale


CAUSES = {
    "nan": (nan, "model: its weight 'model.layers.1.mlp.down_proj.weight' has NaN or infinite values"),
    "infinite": (infinite, "model: its weight 'model.layers.0.self_attn.q_proj.weight' has NaN or infinite"),
    "zero": (zero, "is all zero in float32; download or convert the model again"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_weights_that_are_no_numbers_are_named(name, folder, spoilt, toy_model, tmp_path, capsys):
    change, words = CAUSES[name]
    capsys.readouterr()
    assert extract(folder, tmp_path / "run.zarr", spoilt(change)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
    assert not (tmp_path / "run.zarr").exists()
    assert extract(folder, tmp_path / "run.zarr", toy_model) == 0


def test_an_overflow_that_only_a_subject_causes_leaves_no_store_behind(folder, spoilt, tmp_path, capsys):
    """The check of the model sees other tokens."""

    def one_token(weights: dict[str, np.ndarray]) -> None:
        weights["model.embed_tokens.weight"][token] *= 1e6

    drawn = vocabulary_subjects(toy_tokenizer(), 64).ids.tolist()
    others = np.random.default_rng(0).integers(len(toy_tokenizer()), size=(64,))  # of the check's prompts
    token = next(token for token in drawn[1:] if token not in others)
    model = spoilt(one_token, save_toy_model(tmp_path / "untied", tie_word_embeddings=False))
    assert extract(folder, tmp_path / "run.zarr", model, "--model-dtype", "float16") == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "model.dtype: this model overflows in float16; float32 may not" in said
    assert extract(folder, tmp_path / "run.zarr", model, "--model-dtype", "float32") == 0
    assert LogitStore.open(str(tmp_path / "run.zarr")).verify() == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e6, "has NaN or infinite values in float16; use bfloat16 or float32"),
        (
            5e4,
            "model.dtype: this model overflows in float16, its logits are not finite; use bfloat16 or",
        ),
    ],
    ids=["weights", "states"],
)
def test_an_overflow_is_named_and_the_right_precision_is_then_accepted(
    factor, words, folder, spoilt, tmp_path, capsys
):
    model = spoilt(scaled(factor))
    assert extract(folder, tmp_path / "run.zarr", model, "--model-dtype", "float16") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
    assert extract(folder, tmp_path / "run.zarr", model, "--model-dtype", "float32") == 0
    assert LogitStore.open(str(tmp_path / "run.zarr")).verify() == []


@pytest.mark.parametrize(
    ("cluster", "found"),
    [(["--cluster-kind", "local"], ["ended", "cleared"]), (["--cluster-kind", "address"], ["ended"])],
)
def test_a_place_is_cleared_when_no_task_can_write_there_any_more(
    cluster: list[str], found: list[str], toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster at an address goes on with tasks of a run that has failed."""
    write_catalogue(tmp_path / "toy.yaml")
    happened: list[str] = []

    @contextmanager
    def executor(*_: object, **__: object) -> Iterator[Serial]:
        try:
            yield Serial()
        finally:
            happened.append("ended")

    def fail(*_: object) -> None:
        raise LincorrError("a shard failed")

    monkeypatch.setattr(Run, "executor", executor)
    monkeypatch.setattr("pipeline.run.extract_shards", fail)
    monkeypatch.setattr("pipeline.extract.stage.clear_place", lambda _: happened.append("cleared"))
    address = ["--cluster-address", "tcp://there:8786"] if "address" in cluster else []
    assert extract(tmp_path, tmp_path / "run.zarr", toy_model, *cluster, *address) == 1
    assert happened == found
