"""Logits in a store against Hugging Face's for the same plain prompt, and the audit of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.errors import LincorrError
from lincorr.model.checks import Check
from lincorr.model.load import release_model
from lincorr.prompts.trees import Batch, TreeShape
from lincorr.scores.audit import Audit
from lincorr.store.store import LogitStore
from lincorr.testing import toy_tokenizer
from pipeline.cli.main import main
from pipeline.extract.audit import audit_sample, require_audit
from tests.pipeline.extract.extraction import TEMPLATES

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
CONFIGS = {
    "mistral": lambda n: transformers.MistralConfig(vocab_size=n, **SIZES, sliding_window=12),
    "dynamic": lambda n: transformers.LlamaConfig(
        vocab_size=n, **SIZES, max_position_embeddings=12, rope_parameters=DYNAMIC
    ),
}
SHORT = ["Rome", "Oslo", "Lima", "Cairo"]
LONG = [
    "Rome is not in Korea, nor in Peru, nor in Spain; Anna",
    "Seoul and Delhi and Berlin and Madrid and Tokyo",
]


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Any:
    """Extracts strings with a model into `tmp_path/run.zarr`; returns the exit code."""

    def extract(model: Path, subjects: list[str], *flags: str) -> int:
        (tmp_path / "subjects.txt").write_text("\n".join(subjects))
        options = {
            "--model": model,
            "--catalogue": folder / "toy.yaml",
            "--relations": "toy",
            "--subjects-kind": "strings",
            "--subjects-file": tmp_path / "subjects.txt",
            "--store": tmp_path / "run.zarr",
            "--cluster-batch-tokens": 256,
            "--cluster-kind": "serial",
        }
        return main(["extract", *(str(part) for option in options.items() for part in option), *flags])

    return extract


def saved(folder: Path, name: str) -> Path:
    tokenizer = toy_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name](len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def one_batch(shape: TreeShape, rows: range) -> Batch:
    return Batch(shape, np.array(rows), np.zeros((len(rows), shape.own_tokens), np.int64))


def assert_plain(store: LogitStore, model: Path) -> None:
    """Every stored logit is what transformers says to the prompt alone."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    for template, text in TEMPLATES.items():
        columns, rows = store.column_ids(template), np.arange(store.n_subjects)
        stored = store.logits(template, columns, rows)
        for row, subject in enumerate(store.subjects().texts):
            own = AutoModelForCausalLM.from_pretrained(model)  # fresh: some carry state from prompt to prompt
            with torch.inference_mode():
                logits = (
                    own(**tokenizer(text.replace("{}", subject), return_tensors="pt")).logits[0, -1].numpy()
                )
            np.testing.assert_allclose(stored[row], logits[columns], atol=1e-3 * logits.std())


@pytest.mark.parametrize("name", CONFIGS)
def test_prompts_beyond_a_window_and_within_one_store_have_the_models_own_logits(name, run, tmp_path, capsys):
    model = saved(tmp_path / "model", name)
    assert run(model, SHORT) == 0
    assert run(model, SHORT + LONG) == 0
    store = LogitStore.open(str(tmp_path / "run.zarr"))
    assert store.n_subjects == 6
    assert_plain(store, model)
    audit = store.audit()
    assert audit.prompts >= 4  # two templates, short and long
    assert audit.difference < 1e-4
    capsys.readouterr()
    assert main(["store", "info", store.url, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["audit"]
    assert shown == {"prompts": audit.prompts, "difference": audit.difference, "bound": 1e-3}
    assert main(["store", "info", store.url]) == 0
    assert "asked again plainly" in " ".join(capsys.readouterr().out.split())


def test_what_the_check_did_not_see_the_audit_does(run, tmp_path, monkeypatch, capsys):
    """A window that nobody knows of, and prompts beyond it that come later."""
    monkeypatch.setattr("lincorr.model.language_model.reach", lambda config: float("inf"))
    release_model()
    model = saved(tmp_path / "model", "mistral")
    assert run(model, SHORT) == 0
    before = LogitStore.open(str(tmp_path / "run.zarr")).audit()
    capsys.readouterr()
    assert run(model, SHORT + LONG) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was not written: its logits differ from those of plain prompts by" in said
    store = LogitStore.open(str(tmp_path / "run.zarr"))
    assert store.audit() == before
    assert [store.shards.whole_rows(name, 0) for name in TEMPLATES] == [len(SHORT)] * 2


def test_a_new_store_is_checked_on_its_own_prompts(run, tmp_path, monkeypatch, capsys):
    """Such a window again; the longest prompts are asked before anything is merged."""
    monkeypatch.setattr("lincorr.model.language_model.reach", lambda config: float("inf"))
    release_model()
    model = saved(tmp_path / "model", "mistral")
    assert run(model, SHORT + LONG) == 0
    store = LogitStore.open(str(tmp_path / "run.zarr"))
    assert store.identity.passes == "plain"
    assert_plain(store, model)


def test_a_model_of_which_no_shortcut_holds_has_its_own_logits_stored_and_no_states(
    run, tmp_path, toy_model, monkeypatch
):
    monkeypatch.setattr("pipeline.extract.check.check_batches", lambda *_, **__: Check(1.0, 0.0))
    assert run(toy_model, SHORT) == 0
    identity = LogitStore.open(str(tmp_path / "run.zarr")).identity
    assert (identity.passes, identity.hidden, identity.linear) == ("whole", False, False)
    assert_plain(LogitStore.open(str(tmp_path / "run.zarr")), toy_model)


def test_logits_that_are_no_numbers_are_called_an_overflow():
    with pytest.raises(
        LincorrError, match=r"this model overflows in float16: logits of template 'city', shard 3"
    ):
        require_audit({"template 'city'": Audit(1, float("nan"))}, "shard 3", "float16")


def test_every_shape_and_every_template_is_drawn():
    shapes = [TreeShape(tuple(range(-1, length - 1)), (length - 1,)) for length in (3, 4, 5)]
    every = [
        one_batch(shape, range(start, start + 40)) for start, shape in zip((0, 40, 80), shapes, strict=True)
    ]
    for n_templates in (1, 2, 7):
        drawn = audit_sample(every, n_templates, seed=3)
        assert {template for _, template in drawn} == set(range(n_templates))
        assert {row // 40 for row, _ in drawn} == {0, 1, 2}
        assert drawn == audit_sample(every, n_templates, seed=3)


def test_a_hundredth_of_a_large_shard_is_drawn():
    shape = TreeShape((-1,), (0,))
    drawn = audit_sample([one_batch(shape, range(4000))], 2, seed=0)
    assert 35 <= len(drawn) <= 40


def test_a_difference_that_is_no_number_is_not_lost():
    assert np.isnan((Audit(1, 0.5) + Audit(1, float("nan")) + Audit(1, 0.1)).difference)
    assert Audit(1, 0.5) + Audit(2, 0.25) == Audit(3, 0.5)
