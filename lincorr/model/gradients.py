"""Gradients of a language model's logits with respect to its weights, at a sample of the weights' entries.

The weights are those of the decoder's layers; embeddings, output head and final norm are left out, since they
are the same for every prompt.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.model.language_model import LanguageModel


class GradientProbe:
    """A model and a sample of the entries of its weights, the same for every prompt."""

    def __init__(self, model: LanguageModel, entries: int, *, seed: int) -> None:
        """Draw `entries` entries uniformly from all layers, or take all if there are no more."""
        self._model = model
        model.model.requires_grad_(False)
        self._weights = [weight.requires_grad_(True) for weight in model.layer_weights()]
        sizes = np.array([weight.numel() for weight in self._weights])
        total, starts = int(sizes.sum()), np.cumsum(sizes) - sizes
        chosen: NDArray[np.int64] = np.arange(total)
        if entries < total:  # few are drawn twice; a permutation would take memory for all of them
            chosen = np.unique(np.random.default_rng(seed).integers(total, size=entries))
        cuts = np.searchsorted(chosen, starts[1:])
        parts = zip(np.split(chosen, cuts), starts, strict=True)
        self._positions = [torch.from_numpy(part - start).to(model.device) for part, start in parts]

    def gradients(
        self, prompt: Sequence[int], tokens: NDArray[np.int64], combinations: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the gradients (k, entries) of linear combinations of a prompt's logits, float32.

        Args:
            prompt: token ids.
            tokens: (p,) ids whose logits are combined.
            combinations: (p, k); combination j is ``logits[tokens] @ combinations[:, j]``. Each takes one
                backward pass; gradients of single logits are not formed.
        """
        ids = torch.tensor([list(prompt)], device=self._model.device)
        columns = torch.from_numpy(combinations.astype(np.float32)).to(self._model.device)
        with torch.enable_grad():
            logits = self._model.last_logits(ids).float()[0, torch.from_numpy(tokens)]
            found = [self._gradient(logits, column) for column in columns.T]
        return torch.stack(found).cpu().numpy()

    def _gradient(self, logits: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        gradients = torch.autograd.grad(logits, self._weights, column, retain_graph=True, allow_unused=True)
        parts = [
            torch.zeros(len(positions), device=logits.device)
            if whole is None
            else whole.flatten()[positions].float()
            for whole, positions in zip(gradients, self._positions, strict=True)
        ]
        return torch.cat(parts)
