"""Hidden states and logits of many architectures, against the models' own forward pass."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from lincorr.errors import LincorrError
from lincorr.model.checks import check_readout, check_trees, check_trunk
from lincorr.model.language_model import LanguageModel
from lincorr.prompts.trees import PromptTemplate, batches, merge_prompts, trunk_of
from lincorr.testing import toy_tokenizer

TOKENIZER = toy_tokenizer()
PADDING = 7  # rows of the output head beyond the tokenizer's vocabulary
SIZES: Mapping[str, Any] = {
    "vocab_size": len(TOKENIZER) + PADDING,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
FEWER = {key: SIZES[key] for key in ("vocab_size", "initializer_range", "bos_token_id", "eos_token_id")}
GPT = FEWER | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}

CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "llama": transformers.LlamaConfig(**SIZES),
    "llama tied": transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "mistral": transformers.MistralConfig(**SIZES),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, head_dim=8),
    "gemma": transformers.GemmaConfig(**SIZES, head_dim=8),
    "gemma2": transformers.Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=3.0),
    "gemma3": transformers.Gemma3TextConfig(**SIZES, head_dim=8),
    "gpt2": transformers.GPT2Config(**GPT),
    "gpt-neox": transformers.GPTNeoXConfig(**{k: v for k, v in SIZES.items() if "key_value" not in k}),
    "phi": transformers.PhiConfig(**SIZES),
    "opt": transformers.OPTConfig(
        **FEWER | {"pad_token_id": 1, "ffn_dim": 64, "word_embed_proj_dim": 16, "init_std": 0.3},
        **{key: SIZES[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
        max_position_embeddings=64,
    ),
    "gpt-j": transformers.GPTJConfig(**GPT, rotary_dim=4),
    "cohere": transformers.CohereConfig(**SIZES, logit_scale=0.25),
    "granite": transformers.GraniteConfig(**SIZES, logits_scaling=4.0),
}
LINEAR = [name for name in CONFIGS if name != "gemma2"]

PROMPTS = np.random.default_rng(0).integers(len(TOKENIZER), size=(5, 7))
_MADE: dict[str, LanguageModel] = {}


def language_model(name: str) -> LanguageModel:
    """A random model of an architecture, made once; norms and biases are random too."""
    if name not in _MADE:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries, on sizes that no real model has
            model = AutoModelForCausalLM.from_config(CONFIGS[name])
        for parameter in model.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, 0.5, 0.3)
        _MADE[name] = LanguageModel(model, TOKENIZER, "cpu")
    return _MADE[name]


def own_logits(model: LanguageModel) -> NDArray[np.float32]:
    """What the model itself says at the last position, one prompt at a time, padding rows cut off."""
    with torch.inference_mode():
        logits = [model.model(torch.tensor(prompt[None])).logits[0, -1] for prompt in PROMPTS]
    return torch.stack(logits)[:, : len(TOKENIZER)].numpy()


def states_and_logits(
    model: LanguageModel, columns: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The last hidden states of plain prompts, and their logits."""
    chain = merge_prompts([PROMPTS[0]]).shape
    states, (logits,) = model.hidden_and_logits(PROMPTS, chain, [model.part_of_readout(columns)])
    return states[:, 0], logits


# What a tree asks: three prompts that begin alike, for five subjects.
BRANCHES = [[subject, 40, 41, *end] for subject in range(5) for end in ([42, 43], [44], [])]


@pytest.mark.parametrize("ends_only", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_trees_give_the_logits_of_their_prompts(name: str, ends_only: bool) -> None:
    model = language_model(name)
    assert check_trees(model).passed
    trees = [merge_prompts(BRANCHES[start : start + 3]) for start in range(0, len(BRANCHES), 3)]
    (batch,) = batches(trees, 1000, len(trees))
    head = model.part_of_readout(None)
    _, logits = model.hidden_and_logits(batch.ids, batch.shape, [head, head, head], ends_only=ends_only)
    with torch.inference_mode():
        own = [model.model(torch.tensor([prompt])).logits[0, -1, : len(TOKENIZER)] for prompt in BRANCHES]
    found = np.stack(logits, axis=1).reshape(len(BRANCHES), -1)
    np.testing.assert_allclose(found, torch.stack(own).numpy(), atol=1e-4)


# Three templates whose beginnings are the same for every subject, under one start-of-text token.
LATE: list[list[Any]] = [[0, 40, 41, 42, "X", 43], [0, 40, 41, 44, "X"], [0, "X", 40, 41]]


def late_prompts(subject: int) -> list[list[int]]:
    return [[subject if token == "X" else int(token) for token in prompt] for prompt in LATE]


def late_templates() -> list[PromptTemplate]:
    place = [prompt.index("X") for prompt in LATE]
    return [
        PromptTemplate(tuple(prompt[:i]), tuple(prompt[i + 1 :]), "")
        for prompt, i in zip(LATE, place, strict=True)
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_trunk_gives_the_logits_of_its_prompts(name: str) -> None:
    """What stands before X comes from the cache, and the prompts' logits are the model's own."""
    model = language_model(name)
    assert check_trunk(model).passed
    trunk = trunk_of(late_templates())
    assert trunk.tokens == (0, 40, 41, 42, 44)
    trees = [merge_prompts(late_prompts(subject), trunk) for subject in range(5)]
    (batch,) = batches(trees, 1000, len(trees))
    assert batch.ids.shape == (5, 2 + 1 + 3)  # the tokens after X, and X itself after each beginning
    head = model.part_of_readout(None)
    for _ in range(2):  # the second time from the cache
        _, logits = model.hidden_and_logits(batch.ids, batch.shape, [head, head, head])
        for subject in range(5):
            for end, prompt in enumerate(late_prompts(subject)):
                with torch.inference_mode():
                    own = model.model(torch.tensor([prompt])).logits[0, -1, : len(TOKENIZER)]
                np.testing.assert_allclose(logits[end][subject], own.numpy(), atol=1e-4)


def test_passes_bring_home_every_batch_in_order() -> None:
    model = language_model("llama")
    trees = [merge_prompts([prompt.tolist()]) for prompt in PROMPTS]
    head = model.part_of_readout(None)
    rows = []
    for batch, states, (logits,) in model.passes(batches(trees, 1000, 2), [head]):
        count = len(batch.rows)
        np.testing.assert_allclose(states[:count, 0], model.hidden(PROMPTS[batch.rows]), atol=1e-5)
        np.testing.assert_allclose(logits[:count], own_logits(model)[batch.rows], atol=1e-4)
        rows += batch.rows.tolist()
    assert rows == list(range(len(PROMPTS)))


class Narrow:
    """A device that holds only so many prompts: torch says so as it does."""

    def __init__(self, model: LanguageModel, most: int, error: Exception) -> None:
        self.model, self.most, self.error = model, most, error
        self.forward = model.model.base_model.forward
        self.seen: list[int] = []

    def __enter__(self) -> "Narrow":
        def forward(ids: torch.Tensor, **extra: Any) -> Any:
            self.seen.append(len(ids))
            if len(ids) > self.most:
                raise self.error
            return self.forward(ids, **extra)

        self.model.model.base_model.forward = forward
        return self

    def __exit__(self, *problem: object) -> None:
        del self.model.model.base_model.forward


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "cpu"])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_batch_that_does_not_fit_is_cut_in_halves(error: Exception, most: int) -> None:
    model = language_model("llama")
    trees = [merge_prompts([prompt.tolist()]) for prompt in PROMPTS]
    head = model.part_of_readout(None)
    found = np.full((len(PROMPTS), len(TOKENIZER)), np.nan)
    with Narrow(model, most, error) as device:
        for batch, _, (logits,) in model.passes(batches(trees, 1000, 8), [head]):
            assert len(batch.ids) <= most
            found[batch.rows] = logits[: len(batch.rows)]
    assert device.seen[0] == 8
    np.testing.assert_allclose(found, own_logits(model), atol=1e-4)


def test_a_prompt_that_does_not_fit_alone_is_refused() -> None:
    model = language_model("llama")
    trees = [merge_prompts([prompt.tolist()]) for prompt in PROMPTS]
    with (
        Narrow(model, 0, OUT_OF_MEMORY[0]),
        pytest.raises(LincorrError, match="no memory for one prompt tree"),
    ):
        list(model.passes(batches(trees, 1000, 8), [model.part_of_readout(None)]))


def test_another_failure_is_not_taken_for_want_of_memory() -> None:
    model = language_model("llama")
    trees = [merge_prompts([prompt.tolist()]) for prompt in PROMPTS]
    broken = Narrow(model, 0, RuntimeError("shape mismatch"))
    with broken, pytest.raises(RuntimeError, match="shape mismatch"):
        list(model.passes(batches(trees, 1000, 8), [model.part_of_readout(None)]))


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "cpu"])
def test_a_trial_says_whether_it_fits(error: Exception) -> None:
    model = language_model("llama")
    with Narrow(model, 4, error):
        assert model.try_pass(4 * model.TRIAL_LENGTH)
        assert not model.try_pass(8 * model.TRIAL_LENGTH)


@pytest.mark.gpu
def test_a_gpu_gives_the_logits_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    torch.manual_seed(0)
    own = AutoModelForCausalLM.from_config(CONFIGS["llama"])
    expected = LanguageModel(copy.deepcopy(own), TOKENIZER, "cpu").logits(PROMPTS)
    model = LanguageModel(own, TOKENIZER, "cuda")
    trees = [merge_prompts([prompt.tolist()]) for prompt in PROMPTS]
    for batch, _, (logits,) in model.passes(batches(trees, 1000, 2), [model.part_of_readout(None)]):
        np.testing.assert_allclose(logits[: len(batch.rows)], expected[batch.rows], atol=1e-3)


def test_a_model_that_does_not_take_trees_is_found_out() -> None:
    config = transformers.BloomConfig(vocab_size=len(TOKENIZER), hidden_size=32, n_layer=2, n_head=4)
    model = LanguageModel(AutoModelForCausalLM.from_config(config), TOKENIZER, "cpu")
    assert check_readout(model).passed
    assert not check_trees(model).passed
    assert not check_trunk(model).passed


def test_a_window_that_nobody_knows_of_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask of our own takes the place of the window's."""
    monkeypatch.setattr("lincorr.model.language_model.reach", lambda config: float("inf"))
    torch.manual_seed(0)
    sizes = CONFIGS["mistral"].to_dict() | {"sliding_window": 3, "initializer_range": 0.3}
    model = AutoModelForCausalLM.from_config(transformers.MistralConfig(**sizes))
    assert not check_trees(LanguageModel(model, TOKENIZER, "cpu")).passed


@pytest.mark.parametrize("name", CONFIGS)
def test_read_out_hidden_states_are_the_models_logits(name: str) -> None:
    model = language_model(name)
    hidden, logits = states_and_logits(model)
    assert hidden.shape == (len(PROMPTS), model.width)
    np.testing.assert_allclose(logits, own_logits(model), atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_models(name: str) -> None:
    model = language_model(name)
    np.testing.assert_allclose(model.logits(PROMPTS), own_logits(model), atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_some_columns_are_the_models_logits(name: str) -> None:
    model = language_model(name)
    columns = np.array([40, 3, 111])
    _, logits = states_and_logits(model, columns)
    np.testing.assert_allclose(logits, own_logits(model)[:, columns], atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_head_on_the_host_reads_the_same(name: str) -> None:
    model = language_model(name)
    logits = model.host_readout().logits(model.hidden(PROMPTS))
    np.testing.assert_allclose(logits, own_logits(model), atol=1e-4)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_heads_are_known_and_checked(name: str) -> None:
    model = language_model(name)
    assert model.readout.kind == "linear"
    assert check_readout(model).passed


def test_soft_capped_head_is_told_from_a_linear_one() -> None:
    model = language_model("gemma2")
    assert model.readout.kind == "soft-capped"
    assert np.abs(model.logits(PROMPTS)).max() <= 3.0
    assert check_readout(model).passed  # through the cap


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("llama", "linear, 376 x 32"),
        ("phi", "linear with bias, 376 x 32"),
        ("cohere", "linear scaled by 0.25, 376 x 32"),
        ("granite", "linear scaled by 0.25, 376 x 32"),
        ("gemma2", "soft-capped, 376 x 32"),
        ("opt", "linear, 376 x 16"),
    ],
)
def test_head_in_words(name: str, phrase: str) -> None:
    assert language_model(name).readout.describe() == phrase.replace("376", str(len(TOKENIZER)))


def test_padded_rows_of_the_head_are_left_out() -> None:
    model = language_model("llama")
    assert model.model.get_output_embeddings().weight.shape[0] == len(TOKENIZER) + PADDING
    assert model.vocabulary_size == len(TOKENIZER)
    assert model.logits(PROMPTS).shape == (len(PROMPTS), len(TOKENIZER))


def test_a_wrong_head_does_not_pass_the_check() -> None:
    """A logit scale that nobody knows of, as a new architecture may have."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"])
    forward = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 1.01
        return output

    model.forward = scaled
    check = check_readout(LanguageModel(model, TOKENIZER, "cpu"))
    assert not check.passed
    assert check.difference > check.tolerance


def test_a_prompt_does_not_depend_on_its_batch() -> None:
    model = language_model("llama")
    alone = np.concatenate([model.hidden(prompt[None]) for prompt in PROMPTS])
    np.testing.assert_allclose(model.hidden(PROMPTS), alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_models_pass_the_check_and_give_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = LanguageModel(AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=dtype), TOKENIZER, "cpu")
    hidden, logits = states_and_logits(model)
    assert {str(hidden.dtype), str(logits.dtype)} == {"float32"}
    assert model.dtype == str(dtype).removeprefix("torch.")
    assert check_readout(model).passed
    assert check_trees(model).passed
    assert check_trunk(model).passed
