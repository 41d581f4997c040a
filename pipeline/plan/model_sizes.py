"""A model's sizes from its configuration alone, counted on torch's meta device: no weights, no tokenizer."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lincorr.errors import BadInput, in_one_line
from lincorr.model.parts import softcap
from lincorr.model.quantized import quantization_of

_ROUTED = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True)  # without slots: a cached property needs a place
class ModelSizes:
    """What a forward pass costs, in integers. Parameters are counted when they are first asked for.

    Attributes:
        config: of transformers.
        trust_remote_code: whether the model's own code may count.
        layers: that attend, and
        attention_width: heads times their size.
        width: d, of the hidden state that enters the output head.
        inner_width: of the widest hidden layer, in the feed-forward part.
        vocabulary_size: V.
        softcap: whether logits are capped, and so not linear in the hidden state.
        stored_dtype: precision of the weights in their files.
        bits: of a weight of the matrices, where they are quantised.
    """

    config: Any = field(repr=False, compare=False)
    trust_remote_code: bool
    layers: int
    attention_width: int
    width: int
    inner_width: int
    vocabulary_size: int
    softcap: bool
    stored_dtype: str
    bits: float | None = None

    @property
    def parameters(self) -> int:
        """All parameters; tied ones once."""
        return self._counted[0]

    @property
    def multiplied(self) -> int:
        """Parameters of the matrices that every token is multiplied by.

        Not of embedding tables, output head, norms and biases; of routed experts only the share that a token
        is sent to.
        """
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[int, int, int]:
        import torch
        import transformers

        try:
            with torch.device("meta"):
                model: Any = transformers.AutoModelForCausalLM.from_config(
                    self.config, trust_remote_code=self.trust_remote_code
                )
            text = self.config.get_text_config()
            return sum(p.numel() for p in model.parameters()), *_multiplied(model, text)
        except Exception as problem:  # anything may be missing from a configuration
            raise _unreadable(problem) from problem

    def weight_bytes(self, dtype_bytes: int) -> int:
        """Return the bytes of all weights, where plain ones take so many each."""
        quantised = self._counted[2] if self.bits else 0
        return round(dtype_bytes * (self.parameters - quantised) + quantised * (self.bits or 0) / 8)

    def flops(self, own_tokens: float, seen_tokens: float) -> float:
        """Return the operations of one prompt tree, without the output head.

        Args:
            own_tokens: that are computed for it, each through every matrix: 2 operations a parameter.
            seen_tokens: keys of the attention, the trunk's among them; masked ones are multiplied too.
        """
        products = 2.0 * self.multiplied * own_tokens
        return products + 4.0 * self.layers * self.attention_width * own_tokens * seen_tokens


def model_sizes(config: Any, *, trust_remote_code: bool = False) -> ModelSizes:
    """Read the sizes of a model off its configuration.

    Raises:
        BadInput: it is no causal language model's.
    """
    quantization = quantization_of(config)
    try:
        text = config.get_text_config()
        heads = _size(text, "num_attention_heads") or 0
        width = int(text.hidden_size)
        return ModelSizes(
            config=config,
            trust_remote_code=trust_remote_code,
            layers=_size(text, "num_hidden_layers") or 0,
            attention_width=heads * (_size(text, "head_dim") or width // max(1, heads)),
            width=width,
            inner_width=_size(text, "intermediate_size") or 4 * width,
            vocabulary_size=int(text.vocab_size),
            softcap=softcap(text) is not None,
            stored_dtype=str(getattr(config, "dtype", None) or "float32").removeprefix("torch."),
            bits=quantization.bits if quantization else None,
        )
    except Exception as problem:  # anything may be missing from a configuration
        raise _unreadable(problem) from problem


def _size(text: Any, name: str) -> int | None:
    """Return a size, the largest where layers differ, or None where the configuration has none."""
    try:
        size = getattr(text, name, None)
    except RuntimeError:  # layers differ, as in Gemma 4
        size = [getattr(layer, name, None) for layer in text.per_layer_config]
    sizes = size if isinstance(size, list | tuple) else [size]
    return max((int(size) for size in sizes if size), default=None)


def _unreadable(problem: Exception) -> BadInput:
    return BadInput(f"model: its sizes cannot be read off its config.json ({in_one_line(problem)})")


def _multiplied(model: Any, text: Any) -> tuple[int, int]:
    """Count the parameters that a token is multiplied by, and those of all such matrices."""
    import torch

    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    head = model.get_output_embeddings()
    if head is not None:
        tables.add(id(head.weight))
    experts = next((int(n) for name in _ROUTED if (n := getattr(text, name, None))), 0)
    share = int(getattr(text, "num_experts_per_tok", None) or experts) / experts if experts else 1.0
    total, every = 0.0, 0
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and id(parameter) not in tables:
            every += parameter.numel()
            total += parameter.numel() * (share if ".experts." in name else 1.0)
    return round(total), every
