"""Checkpoints whose weights are not those of their configuration, and models that are not causal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from lincorr.model.files import ModelSpec, locate, needs_conversion
from lincorr.model.load import load_config, load_model
from lincorr.model.weights import surplus_tensors
from lincorr.testing import save_toy_model
from tests.lincorr.model.refused import refusal
from tests.lincorr.model.toy_gguf import INNER, WIDTH, save_toy_gguf

Tensors = dict[str, torch.Tensor]


def load(folder: Path) -> Any:
    return load_model(ModelSpec(str(folder), dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model with an output head of its own."""
    return save_toy_model(tmp_path_factory.mktemp("untied"), tie_word_embeddings=False)


def edited(source: Path, folder: Path, change: Callable[[Tensors], Any], **config: Any) -> Path:
    """A copy of a model with other tensors or settings."""
    shutil.copytree(source, folder)
    weights, settings = folder / "model.safetensors", folder / "config.json"
    tensors = safetensors.torch.load_file(weights)
    change(tensors)
    safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
    settings.write_text(json.dumps(json.loads(settings.read_text()) | config))
    return folder


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "config", "says"),
    [
        (lambda t: t.pop(UP), {}, f"lacks 1 tensor ({UP!r})"),
        (lambda t: t.update(other=t.pop(UP)), {}, f"lacks 1 tensor ({UP!r})"),
        (lambda t: t.pop("lm_head.weight"), {}, "lacks 1 tensor ('lm_head.weight')"),
        (lambda t: None, {"num_hidden_layers": 3}, "lacks 9 tensors ('model.layers.2."),
        (lambda t: None, {"num_hidden_layers": 1}, "has 9 tensors ('model.layers.1."),
        (lambda t: None, {"vocab_size": 300}, "other sizes"),
        (
            lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),
            {},
            "has 1 tensor ('model.layers.0.self_attn.q_proj.bias')",
        ),
    ],
)
def test_other_weights_than_the_configurations_are_refused(
    untied: Path, tmp_path: Path, change: Callable[[Tensors], Any], config: dict[str, Any], says: str
) -> None:
    message = refusal(lambda: load(edited(untied, tmp_path / "model", change, **config)))
    assert message.startswith("model: ")
    assert says in message


def test_a_shard_without_a_tensor_is_refused(untied: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(untied)
    shutil.copytree(untied, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    model.save_pretrained(tmp_path / "model", max_shard_size="60KB")
    shard = sorted((tmp_path / "model").glob("model-*.safetensors"))[-1]
    load(tmp_path / "model")
    tensors = safetensors.torch.load_file(shard)
    name, _ = tensors.popitem()
    safetensors.torch.save_file(tensors, shard, metadata={"format": "pt"})
    assert repr(name) in refusal(lambda: load(tmp_path / "model"))


@pytest.mark.parametrize("kind", ["AutoModel", "AutoModelForSequenceClassification"])
def test_a_model_saved_without_its_head_is_refused_unless_it_is_tied(
    untied: Path, toy_model: Path, tmp_path: Path, kind: str
) -> None:
    for source in (untied, toy_model):
        folder = Path(shutil.copytree(source, tmp_path / source.name))
        getattr(transformers, kind).from_pretrained(source).save_pretrained(folder)
    assert "'lm_head.weight'" in refusal(lambda: load(tmp_path / untied.name))
    ids = np.array([[5, 80, 120]])
    np.testing.assert_allclose(
        load(tmp_path / toy_model.name).logits(ids), load(toy_model).logits(ids), rtol=1e-4
    )


def test_what_no_language_model_uses_is_no_sign_of_a_cut() -> None:
    own = ["model.layers.0.mlp.weight", "model.layers.1.mlp.weight", "lm_head.weight"]
    harmless = [
        "model.layers.0.attn.masked_bias",  # a buffer of older versions
        "model.layers.1.attn.bias",  # likewise: there is no attn.weight
        "model.vision.layers.7.mlp.weight",
        "model.layers.2.eh_proj.weight",  # predicts the token after the next
        "model.layers.2.mlp.weight",
        "score.weight",
    ]
    assert surplus_tensors(harmless, own) == []
    further = ["model.layers.3.mlp.weight", "model.layers.1.mlp.bias"]
    assert surplus_tensors([*harmless, *further], own) == sorted(further)


# --- GGUF -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"without": "blk.1.ffn_up"}, f"lacks 1 tensor ({UP!r})"),
        ({"without": "token_embd"}, "lacks 1 tensor ('model.embed_tokens.weight')"),
        ({"parts": 2}, "is one of 2 files; join them first"),
        ({"extra": {"blk.2.ffn_up.weight": (INNER, WIDTH)}}, "has a tensor 'blk.2.ffn_up.weight'"),
        ({"extra": {"blk.1.attn_q.bias": (WIDTH,)}}, "has a tensor 'blk.1.attn_q.bias'"),
    ],
)
def test_a_gguf_that_is_not_whole_is_refused_and_leaves_nothing(
    tmp_path: Path, odd: dict[str, Any], says: str
) -> None:
    spec = ModelSpec(str(save_toy_gguf(tmp_path / "toy.gguf", **odd)), cache=str(tmp_path / "cache"))
    assert says in refusal(lambda: locate(spec))
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    assert needs_conversion(spec)


def test_a_gguf_is_converted_without_regard_to_what_lies_beside_it(tmp_path: Path) -> None:
    folders = []
    for name in ("alone", "beside"):
        (tmp_path / name).mkdir()
        path = save_toy_gguf(tmp_path / name / "toy.gguf")
        if name == "beside":
            (path.parent / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing"}')
            (path.parent / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "</s>"}')
        folders.append(locate(ModelSpec(str(path), cache=str(tmp_path / name / "cache"))))
    for file in folders[0].iterdir():
        assert file.read_bytes() == (folders[1] / file.name).read_bytes(), file.name


# --- other models ---------------------------------------------------------------------------------------

SMALL: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def saved(model: Any, toy_model: Path, folder: Path) -> Path:
    """A model in a folder, with the toy tokenizer."""
    shutil.copytree(toy_model, folder, ignore=shutil.ignore_patterns("model*", "config*", "generation*"))
    model.save_pretrained(folder)
    return folder


def test_an_encoder_is_refused_and_its_decoder_is_not(toy_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    for decoder in (False, True):
        config = transformers.BertConfig(vocab_size=600, **SMALL, is_decoder=decoder, initializer_range=0.2)
        saved(transformers.BertLMHeadModel(config), toy_model, tmp_path / str(decoder))
    assert "is not causal" in refusal(lambda: load(tmp_path / "False"))
    load(tmp_path / "True")


def test_the_decoder_of_an_encoder_is_refused_before_weights_are_read(
    toy_model: Path, tmp_path: Path
) -> None:
    sizes: Any = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "vocab_size": 600,
        "pad_token_id": 0,
    }
    sizes |= {"bos_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "decoder_attention_heads": 4}
    whisper = transformers.WhisperConfig(**sizes, encoder_attention_heads=4)
    folder = saved(transformers.WhisperForConditionalGeneration(whisper), toy_model, tmp_path / "whisper")
    for act in (lambda: load(folder), lambda: load_config(folder)):
        assert "is an encoder with a decoder (whisper)" in refusal(act)


def test_an_adapter_in_the_models_own_folder_is_refused(
    toy_model: Path, toy_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_model, tmp_path / "both")
    shutil.copytree(toy_adapter, tmp_path / "both", dirs_exist_ok=True)
    assert "model.adapter" in refusal(lambda: locate(ModelSpec(str(tmp_path / "both"))))
