"""A tiny GGUF file, whole or with tensors left out or added."""

import json
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from lincorr.testing import toy_tokenizer

WIDTH, INNER, HEADS, LAYERS = 32, 64, 4, 2


def toy_tensors(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama's tensors, as GGUF has them."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (WIDTH,),
            f"blk.{layer}.ffn_norm.weight": (WIDTH,),
            **{f"blk.{layer}.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
            f"blk.{layer}.ffn_gate.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_up.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_down.weight": (WIDTH, INNER),
        }
    return shapes


def save_toy_gguf(
    path: Path, *, without: str = "", extra: Mapping[str, tuple[int, ...]] | None = None, parts: int = 1
) -> Path:
    """Write a tiny random Llama with the toy tokenizer.

    Args:
        without: tensors whose names begin so are left out.
        extra: shapes of further tensors.
        parts: the number of files that this one says it is the first of.
    """
    model = json.loads(toy_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("toy")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    if parts > 1:
        writer.add_uint16("split.no", 0)
        writer.add_uint16("split.count", parts)
    rng = np.random.default_rng(0)
    for name, shape in (toy_tensors(len(tokens)) | dict(extra or {})).items():
        if not without or not name.startswith(without):
            writer.add_tensor(name, rng.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
