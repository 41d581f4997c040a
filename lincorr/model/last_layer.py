"""The last layer's feed-forward network, computed only where prompts end: no other position is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

# Whatever an architecture calls it.
_NAMES = ("mlp", "feed_forward", "ffn")


class LastFeedForward:
    """Picks positions before the network, and puts its results back among zeros."""

    def __init__(self, layers: Sequence[torch.nn.Module]) -> None:
        """Watch the network of the last of a decoder's layers; nothing where it is not found."""
        self._ends: torch.Tensor | None = None
        parts = dict(layers[-1].named_children()) if layers else {}
        network = next((parts[name] for name in _NAMES if name in parts), None)
        self.known = network is not None
        if network is not None:
            network.register_forward_pre_hook(self._pick)
            network.register_forward_hook(self._place)

    @contextmanager
    def only_at(self, ends: torch.Tensor | None) -> Iterator[None]:
        """Compute it at these positions (k,) of each prompt while inside; None means all."""
        self._ends = ends
        try:
            yield
        finally:
            self._ends = None

    def _pick(self, _network: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._ends is None:
            return None
        states, *others = inputs
        self._all = states.shape
        return states.index_select(1, self._ends.to(states.device)), *others

    def _place(self, _network: torch.nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        if self._ends is None:
            return None
        states, *others = output if isinstance(output, tuple) else (output,)
        placed = states.new_zeros(self._all).index_copy_(1, self._ends.to(states.device), states)
        return (placed, *others) if others else placed
