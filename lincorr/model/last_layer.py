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
        self._ends: list[int] = []
        parts = dict(layers[-1].named_children()) if layers else {}
        network = next((parts[name] for name in _NAMES if name in parts), None)
        self.known = network is not None
        if network is not None:
            network.register_forward_pre_hook(self._pick)
            network.register_forward_hook(self._place)

    @contextmanager
    def only_at(self, ends: Sequence[int]) -> Iterator[None]:
        """Compute it at these positions of each prompt while inside; none means all."""
        self._ends = list(ends)
        try:
            yield
        finally:
            self._ends = []

    def _pick(self, _network: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self._ends:
            return None
        states, *others = inputs
        self._all = states.shape
        return states[:, self._ends], *others

    def _place(self, _network: torch.nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
        if not self._ends:
            return None
        states, *others = output if isinstance(output, tuple) else (output,)
        placed = states.new_zeros(self._all)
        placed[:, self._ends] = states
        return (placed, *others) if others else placed
