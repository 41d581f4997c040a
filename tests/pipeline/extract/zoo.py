"""A tiny random model of any causal family that transformers registers."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lincorr.testing import toy_tokenizer

FAMILIES: tuple[str, ...] = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
TOKENIZER = toy_tokenizer()
WIDTH, WINDOW, POSITIONS = 32, 8, 64
LARGEST = 10_000_000

# What a setting is in a tiny model, whatever the architecture calls it.
_NAMES: list[tuple[int, str]] = [
    (len(TOKENIZER), "vocab_size vocab_size_per_layer_input unpadded_vocab_size"),
    (
        WIDTH,
        """hidden_size d_model n_embd embedding_size emb_dim embedding_dim word_embed_proj_dim embed_dim
        input_embedding_size output_embedding_size attention_hidden_size moe_intermediate_size
        shared_expert_intermediate_size shared_experts_intermediate_size shared_intermediate_size
        dense_intermediate_size expert_ffn_hidden_size moe_shared_expert_intermediate_size lru_width
        out_hidden_size output_channels projection_dim router_hidden_size pronunciation_embed_dim
        shape_embed_dim vision_output_dim""",
    ),
    (
        2 * WIDTH,
        """intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim d_inner dff dim_ff ffn_hidden_size
        intermediate_size_mlp n_inner feed_forward_size mamba_d_ssm""",
    ),
    (
        4,
        """num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads
        attention_heads num_decoder_attention_heads num_encoder_attention_heads swa_num_attention_heads
        linear_num_heads linear_num_value_heads num_experts n_routed_experts num_local_experts
        moe_num_experts mamba_n_heads mamba_num_heads time_step_rank mamba_dt_rank index_n_heads
        zero_expert_num""",
    ),
    (
        2,
        """num_key_value_heads num_kv_heads n_kv_heads swa_num_key_value_heads linear_num_key_heads
        num_experts_per_tok num_experts_per_token moe_topk moe_k num_hidden_layers n_layer n_layers
        num_layers decoder_layers encoder_layers num_decoder_layers num_encoder_layers depth n_groups
        num_query_groups""",
    ),
    (
        8,
        """head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim d_head attention_head_size dim_head
        swa_head_dim linear_key_head_dim linear_value_head_dim linear_head_dim index_head_dim mamba_head_dim
        kv_channels hidden_size_per_layer_input laurel_rank mamba_chunk_size chunk_size ssm_state_size
        mamba_d_state rotary_dim""",
    ),
    (
        WINDOW,
        """sliding_window sliding_window_size window_size attention_window_size attention_chunk_size
        local_attention keep_window_size index_topk""",
    ),
    (16, "kv_lora_rank q_lora_rank o_lora_rank state_size mamba_d_head"),
    (1, "n_group topk_group num_expert_group first_k_dense_replace"),
    (
        POSITIONS,
        """max_position_embeddings n_positions n_ctx max_seq_len max_target_positions context_length
        max_source_positions shape_vocab_size pronunciation_vocab_size""",
    ),
]
_SIZES = {name: size for size, names in _NAMES for name in names.split()}
# What logits are multiplied by, divided by or capped at.
_SCALES = {
    "logit_scale": 0.5,
    "lm_head_multiplier": 0.5,
    "logits_scaling": 4.0,
    "logits_mup_width_multiplier": 4.0,
    "dim_model_base": 16,
    "final_logit_softcapping": 20.0,
    "logits_soft_cap": 20.0,
    "output_logit_soft_cap": 20.0,
}

# transformers registers a part of them that it cannot build from the configuration of the whole.
_NEVER_ALONE = ("musicgen", "musicgen_melody")

# Families whose sizes depend on one another in their own way.
_MIXED = ["sliding_attention", "full_attention"]
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_SHARED_KEYS = {"num_hidden_layers": 4, "layer_types": 2 * _MIXED, "num_kv_shared_layers": 2}
_LATENT_WINDOWS = {
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 4,
    "swa_q_lora_rank": 16,
    "swa_kv_lora_rank": 16,
    "swa_head_dim": 16,
    "swa_qk_nope_head_dim": 8,
    "swa_v_head_dim": 8,
    "head_dim": 16,
}
_INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}
_DRAFT = {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
_OVERRIDES: dict[str, dict[str, Any]] = {
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "encoder_hash_byte_group_size": [3, 4],
        "encoder_config": {"hidden_size_global": 2 * WIDTH},
        "decoder_config": {"hidden_size_global": 2 * WIDTH},
        "global_config": {"hidden_size": 2 * WIDTH},
    },
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE | {"mrope_section": [2, 1, 1]}}},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0, "kv_n_heads": 2}},
    "dots3_note": {
        "text_config": _LATENT_WINDOWS,
        "vision_config": {"adapter_in_dim": WIDTH, "adapter_out_dim": WIDTH},
        "audio_config": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH},
    },
    "dots3_note_text": _LATENT_WINDOWS,
    "dots1": {"num_experts_per_tok": 2, "n_routed_experts": 4, "n_shared_experts": 1},
    "gemma3n_text": _SHARED_KEYS
    | {"intermediate_size": 64, "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0]},
    "gemma3": {"text_config": {"final_logit_softcapping": None}},
    "gemma4": {"text_config": _SHARED_KEYS},
    "gemma4_assistant": {"text_config": _DRAFT},
    "gemma4_text": _SHARED_KEYS,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"],
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    "mpt": {"logit_scale": None},
    "qwen2": {"use_sliding_window": True, "layer_types": _MIXED},
    "qwen4_exp": {"text_config": _INDEXER},
    "qwen4_exp_text": _INDEXER,
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}

# What a family is with other settings: decoders that are registered as encoders, and positions that are
# encoded otherwise in long prompts.
_DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
_LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 4.0, 8.0]}
_BERTS = "bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta"
_BERTS += " roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl xmod"
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{family}, is_decoder": (family, {"is_decoder": True}) for family in _BERTS.split()},
    "xlm, causal": ("xlm", {"causal": True}),
    "llama, dynamic": ("llama", {"max_position_embeddings": WINDOW, "rope_parameters": _DYNAMIC}),
    "phi3, longrope": (
        "phi3",
        {
            "original_max_position_embeddings": WINDOW,
            "rope_parameters": _LONGROPE
            | {"rope_theta": 10000.0, "original_max_position_embeddings": WINDOW},
        },
    ),
}


def tiny_config(name: str) -> Any:
    """The configuration of a family or variant: every size of `_SIZES` that it has, a layer of each kind."""
    family, settings = VARIANTS.get(name, (name, {}))
    return _shrunk(CONFIG_MAPPING[family], _OVERRIDES.get(family, {}) | settings)


def save_tiny(name: str, folder: Path) -> Path:
    """Save a random model of a family or variant, with the toy tokenizer; of `_NEVER_ALONE` no weights.

    Raises:
        ImportError: transformers cannot build one without a package that is not installed.
    """
    config = tiny_config(name)
    TOKENIZER.save_pretrained(folder)
    if name in _NEVER_ALONE:
        config.save_pretrained(folder)
        return folder
    model = _random_model(config)
    model.save_pretrained(folder)
    if model.config.model_type != config.model_type:  # checkpoints have the whole configuration, not a part
        config.save_pretrained(folder)
    return folder


def _random_model(config: Any) -> Any:
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(config).num_parameters()
    assert size < LARGEST, f"{size:,} parameters"
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():  # own initialisations leave attention nearly uniform
            if weight.requires_grad and weight.ndim > 1:
                weight.normal_(0.0, 0.3)
            elif weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)
    return model


def _shrunk(kind: Any, overrides: Mapping[str, Any]) -> Any:
    try:
        default = kind()
    except StrictDataclassError:  # it has no sizes of its own
        default = kind(**overrides)
    known = {name: value for name, value in default.to_dict().items() if name in _fields(kind)}
    small: dict[str, Any] = {
        name: size
        for name, size in _SIZES.items()
        if name in known and not isinstance(known[name], list) and known[name] != 0
    }
    small |= {name: scale for name, scale in _SCALES.items() if name in known}
    small |= {name: 1 for name, value in known.items() if name.endswith("_token_id") and value is not None}
    if "kv_lora_rank" in known:  # latent attention has a key for every head
        small["num_key_value_heads"] = small["num_attention_heads"]
    small |= _layers(default, known)
    for name in kind.sub_configs:
        if known.get(name) is not None:
            small[name] = _shrunk(type(getattr(default, name)), overrides.get(name, {}))
    return kind(
        **(small | {name: value for name, value in overrides.items() if name not in kind.sub_configs})
    )


def _fields(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)} | set(kind.sub_configs)


def _layers(default: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of single layers, cut to the first layer of each kind: attention, window, experts."""
    count = getattr(default, "num_hidden_layers", None)
    by_layer = {
        name: value for name, value in known.items() if isinstance(value, list) and len(value) == count
    }
    by_layer = {name: value for name, value in by_layer.items() if len(set(value)) <= 4}
    if not by_layer:
        return {}
    rows = list(zip(*by_layer.values(), strict=True))
    kept = sorted({row: rows.index(row) for row in rows}.values())[:4]
    kept = kept if len(kept) > 1 else [kept[0], kept[0] + 1]
    small = {name: [value[layer] for layer in kept] for name, value in by_layer.items()}
    return small | {default.attribute_map.get("num_hidden_layers", "num_hidden_layers"): len(kept)}
