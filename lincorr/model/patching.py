"""Read and move a model's residual stream: what leaves a decoder layer at one position of a prompt."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.model.language_model import LanguageModel

_BATCH = 64  # prompts of a forward pass


class Patcher:
    """A model whose stream is read, or moved by a vector; its weights stay as they are."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._layers = model.layers()

    @property
    def depth(self) -> int:
        """The number of decoder layers."""
        return len(self._layers)

    def hidden(self, prompts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the states (n, width) that enter the head at the end of prompts (n, T)."""
        return np.concatenate([self._model.hidden(part) for part in _batches(prompts)])

    def stream(self, prompts: NDArray[np.int64], layer: int) -> NDArray[np.float32]:
        """Return what leaves a layer at each position of prompts (n, T): (n, T, width)."""
        found: list[NDArray[np.float32]] = []

        def read(states: torch.Tensor) -> torch.Tensor:
            found.append(states.float().cpu().numpy())
            return states

        with self._after(layer, read):
            self.hidden(prompts)
        return np.concatenate(found)

    def moved(
        self, prompts: NDArray[np.int64], layer: int, position: int, by: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the states of `hidden` with vectors added to the stream.

        Args:
            prompts: (n, T) token ids.
            layer: after which the vectors are added.
            position: of the token whose stream is moved.
            by: (n, width), one vector for each prompt.
        """
        parts = iter(_batches(by))

        def move(states: torch.Tensor) -> torch.Tensor:
            moved = states.clone()
            moved[:, position] += torch.from_numpy(next(parts)).to(states)
            return moved

        with self._after(layer, move):
            return self.hidden(prompts)

    @contextmanager
    def _after(self, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Replace what leaves a layer for the block; some layers give a tuple, with the states first."""

        def hook(_module: Any, _given: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        with ExitStack() as cleanup:
            cleanup.callback(self._layers[layer].register_forward_hook(hook).remove)
            yield


def _batches(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
