"""Where a decoder treats a long prompt otherwise than a short one, and what it carries from call to call."""

from typing import Any

# Settings that bound how far back a layer attends, by the architecture's own name for them.
_WINDOWS = (
    "sliding_window",
    "sliding_window_size",
    "attention_window",
    "attention_window_size",
    "attention_chunk_size",
    "local_attention",
    "window_size",
)
# Rotary embeddings whose frequencies depend on the length of the whole input.
_BY_LENGTH = ("dynamic", "longrope")


def reach(config: Any) -> float:
    """Return the number of tokens up to which a prompt may share a mask and a cache with others.

    In a longer one some layer no longer sees every token, or positions are encoded otherwise; infinite where
    there is no such length. A prompt tree counts with all its tokens: some architectures measure windows
    between places in the input, not between positions.

    Args:
        config: of a transformers model.
    """
    text = config.get_text_config()
    limits = [getattr(text, name, None) for name in _WINDOWS]
    if blocks := getattr(text, "index_topk_blocks", None):  # of keys, by their places in the input
        limits.append(blocks * text.index_block_size)
    for rope in _rope_settings(text):
        if rope.get("rope_type") in _BY_LENGTH:
            limits += [rope.get("original_max_position_embeddings"), text.max_position_embeddings]
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=float("inf"))


def grows(config: Any) -> bool:
    """Whether a model takes longer prompts than its configuration names, by frequencies that follow."""
    return any(rope.get("rope_type") == "dynamic" for rope in _rope_settings(config.get_text_config()))


class RotaryState:
    """The frequencies that dynamic rotary embeddings keep from the longest input that they have seen."""

    def __init__(self, model: Any) -> None:
        """Remember them as they are in a model that has seen nothing yet."""
        self._fresh = [
            (module, name, value)
            for module in model.modules()
            if "dynamic" in str(getattr(module, "rope_type", ""))
            for name, value in {**vars(module), **dict(module.named_buffers(recurse=False))}.items()
            if name.endswith(("inv_freq", "max_seq_len_cached"))
        ]

    def forget(self) -> None:
        """Let the next pass begin as the first did, so that logits do not depend on what was asked before."""
        for module, name, value in self._fresh:
            setattr(module, name, value)


def _rope_settings(text: Any) -> list[dict[str, Any]]:
    """The settings of rotary embeddings: one set, or one for each type of layer."""
    settings = getattr(text, "rope_parameters", None) or {}
    return [settings, *(part for part in settings.values() if isinstance(part, dict))]
