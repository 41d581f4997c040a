"""Whether a checkpoint has the weights that its configuration asks for, all of them and no further layers.

transformers makes up random weights where some are missing, and passes over those that are too many.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from lincorr.errors import BadInput


def require_weights(model: Any, loading: Mapping[str, Collection[Any]], source: str) -> None:
    """Refuse a model that transformers could not load as it was saved.

    Args:
        model: of transformers.
        loading: what `from_pretrained` with `output_loading_info` and `ignore_mismatched_sizes` says of it.
        source: the name of the checkpoint.

    Raises:
        BadInput: tensors are missing, have other sizes, or belong to layers or biases that the model lacks.
    """
    if missing := sorted(loading["missing_keys"]):
        raise BadInput(
            f"model: {source!r} lacks {_count(missing)} of the model that its configuration describes: the "
            "checkpoint is incomplete, or was saved without its output head; get a complete one"
        )
    if odd := sorted(loading["mismatched_keys"]):
        _, stored, wanted = odd[0]
        raise BadInput(
            f"model: {source!r} has {_count([name for name, *_ in odd])} in other sizes than its "
            f"configuration describes ({_size(stored)}, not {_size(wanted)}); get both from one place"
        )
    own = {name for name, _ in model.named_parameters()}
    own |= {name.removeprefix(f"{model.base_model_prefix}.") for name in own}  # saved without the head
    if surplus := surplus_tensors(loading["unexpected_keys"], own):
        raise BadInput(
            f"model: {source!r} has {_count(surplus)} that the model of its configuration does not use: "
            "layers or biases are cut off (num_hidden_layers?); get configuration and weights from one place"
        )


def surplus_tensors(unexpected: Collection[str], own: Collection[str]) -> list[str]:
    """Return those of the unexpected tensors that show a configuration cut short: layers and biases.

    Others are none of the model's business: towers for images, buffers of older versions, and layers that
    predict several tokens at once (their projection is called `eh_proj`).

    Args:
        unexpected: names of tensors that were not loaded.
        own: names of the model's own.
    """
    counted = {prefix for name in own for prefix in _numbered(name)}  # such as model.layers.3
    lists = {prefix.rpartition(".")[0] for prefix in counted}
    predicting = {prefix for name in unexpected if "eh_proj" in name for prefix in _numbered(name)}

    def is_surplus(name: str) -> bool:
        if name.endswith(".bias") and name.removesuffix("bias") + "weight" in own:
            return True
        return any(
            prefix.rpartition(".")[0] in lists
            for prefix in _numbered(name)
            if prefix not in counted | predicting
        )

    return sorted(name for name in unexpected if is_surplus(name))


def _numbered(name: str) -> Iterator[str]:
    """Yield the beginnings of a tensor's name that end in a number."""
    for number in re.finditer(r"\.\d+(?=\.)", name):
        yield name[: number.end()]


def _count(names: list[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) > 1)} ({names[0]!r}{', for one' * (len(names) > 1)})"


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))
