"""Masks, positions, ends and key-value caches with which a transformer computes prompt trees.

They stay on the device: at a copy of them, or an index of Python's numbers, the host would wait in every pass
for all that a GPU has yet to compute.
"""

import inspect
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from lincorr.prompts.trees import TreeShape


class TreeInputs:
    """The inputs of a model, besides token ids, for trees of any shape; each shape's are made once."""

    def __init__(self, decoder: Any, device: str) -> None:
        """Prepare for the decoder of a transformers model that is on `device`."""
        self._decoder = decoder
        self._device = device
        self._ends: dict[TreeShape, torch.Tensor] = {}
        self._shapes: dict[TreeShape, tuple[torch.Tensor, torch.Tensor]] = {}
        self._trunks: dict[tuple[TreeShape, tuple[int, ...]], list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def of(self, shape: TreeShape, n_trees: int) -> dict[str, Any]:
        """Return the keyword arguments with which the model computes `n_trees` trees of one shape.

        The mask is additive, (n_trees, 1, own tokens, T), in the model's precision; positions are int64,
        (n_trees, own tokens). Trees with a trunk come with a cache of its keys and values.
        """
        if shape not in self._shapes:
            self._shapes[shape] = self._mask_and_positions(shape)
        mask, positions = self._shapes[shape]
        arguments: dict[str, Any] = {
            "attention_mask": mask.expand(n_trees, 1, *mask.shape[2:]),
            "position_ids": positions.expand(n_trees, -1),
            "use_cache": False,
        }
        if shape.trunk:
            layers = [
                (k.expand(n_trees, -1, -1, -1), v.expand(n_trees, -1, -1, -1)) for k, v in self._trunk(shape)
            ]
            arguments |= self._with_cache(DynamicCache(layers))
        return arguments

    def ends(self, shape: TreeShape) -> torch.Tensor:
        """Return where a shape's prompts end among its own tokens, int64 (k,)."""
        if shape not in self._ends:
            ends = [end - len(shape.trunk) for end in shape.ends]
            self._ends[shape] = torch.tensor(ends, device=self._device)
        return self._ends[shape]

    def _mask_and_positions(self, shape: TreeShape) -> tuple[torch.Tensor, torch.Tensor]:
        own = slice(len(shape.trunk), None)
        dtype = self._decoder.dtype
        hidden = torch.from_numpy(~shape.visible()[own])
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)
        positions = torch.from_numpy(shape.depths()[own])
        return mask[None, None].to(self._device), positions[None].to(self._device)

    def _trunk(self, shape: TreeShape) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the keys and values of a shape's trunk, layer by layer; computed once."""
        key = (shape.trunk_shape, shape.trunk)
        if key not in self._trunks:
            cache: Any = DynamicCache()
            arguments = self.of(key[0], 1) | self._with_cache(cache)
            ids = torch.from_numpy(np.array([shape.trunk])).to(self._device)
            self._decoder(ids, **arguments)
            self._trunks[key] = [(layer.keys, layer.values) for layer in cache.layers]
        return self._trunks[key]

    def _with_cache(self, cache: DynamicCache) -> dict[str, Any]:
        """Return the arguments with which the model reads a cache of keys and values, and appends to it."""
        accepted = inspect.signature(self._decoder.forward).parameters
        name = "cache" if "cache" in accepted else "past_key_values"  # its name before transformers 5.24
        return {name: cache, "use_cache": True}
