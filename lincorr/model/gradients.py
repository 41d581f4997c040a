"""Gradients of a language model's logits by its weights, at a sample of the weights' entries.

The weights are those of the decoder's layers; embeddings, output head and final norm are left out, since they
are the same for every prompt.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.model.language_model import LanguageModel


class GradientProbe:
    """A model and the entries of its weights that are looked at, the same for every prompt."""

    def __init__(self, model: LanguageModel, entries: int, *, seed: int) -> None:
        """Draw the entries uniformly from all layers; all of them where there are no more."""
        self._model = model
        model.model.requires_grad_(False)
        self._weights = [weight.requires_grad_(True) for weight in model.layer_weights()]
        sizes = np.array([weight.numel() for weight in self._weights])
        total, starts = int(sizes.sum()), np.cumsum(sizes) - sizes
        chosen: NDArray[np.int64] = np.arange(total)
        if entries < total:  # few are drawn twice; a permutation of all would take their memory
            chosen = np.unique(np.random.default_rng(seed).integers(total, size=entries))
        cuts = np.searchsorted(chosen, starts[1:])
        parts = zip(np.split(chosen, cuts), starts, strict=True)
        self._places = [torch.from_numpy(part - start).to(model.device) for part, start in parts]

    def gradients(
        self, prompt: Sequence[int], tokens: NDArray[np.int64], combinations: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the gradients (k, entries) of combinations of a prompt's logits.

        Args:
            prompt: token ids.
            tokens: (p,) whose logits are combined.
            combinations: (p, k); combination j is ``logits[tokens] @ combinations[:, j]``. One backward pass
                each: no gradient of a single logit is formed.
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
            torch.zeros(len(places), device=logits.device)
            if whole is None
            else whole.flatten()[places].float()
            for whole, places in zip(gradients, self._places, strict=True)
        ]
        return torch.cat(parts)
