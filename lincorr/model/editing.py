"""Train a loaded model on one fact by gradient steps, then restore its weights, bit for bit.

Only weights of the decoder's layers are trained; embeddings, output head and final norm stay, so that logits
are read out of hidden states as before. How the paper trained is not known: the recipe is ours.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.model.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a fact is trained: gradient steps on the cross-entropy of its answer after its prompt.

    Attributes:
        rate: step size of plain gradient descent.
        steps: the largest number of updates.
        confidence: training ends when the answer has this share of the softmax over it and its rivals.
        layers: number of the decoder's last layers that are trained, or None for all.
    """

    rate: float
    steps: int
    confidence: float
    layers: int | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """What training took: the number of updates, and the answer's share of the softmax in the end."""

    steps: int
    confidence: float


class Editor:
    """Edits a model, one fact at a time, with a copy of its original weights.

    States of the model that others have cached (a trunk's) are those of the original weights: only whole
    prompts are run here.
    """

    def __init__(self, model: LanguageModel, recipe: Recipe) -> None:
        self._model = model
        self._recipe = recipe
        model.model.requires_grad_(False)
        self._trained = [weight.requires_grad_(True) for weight in model.layer_weights(recipe.layers)]
        self._originals = [weight.detach().clone() for weight in self._trained]

    def logits(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the model's present logits (prompts, vocabulary), float32."""
        # prompts of one length in one pass: nothing is padded
        by_length: dict[int, list[int]] = defaultdict(list)
        for position, prompt in enumerate(prompts):
            by_length[len(prompt)].append(position)
        found = np.empty((len(prompts), self._model.vocabulary_size), np.float32)
        for positions in by_length.values():
            ids = np.array([prompts[position] for position in positions], dtype=np.int64)
            found[positions] = self._model.logits(ids)
        return found

    @contextmanager
    def edited(self, prompt: Sequence[int], answer: int, rivals: Sequence[int]) -> Iterator[Training]:
        """Train one answer to a prompt for the block; afterwards the weights are restored, whatever happens.

        Args:
            prompt: token ids.
            answer: id of the token that should come next.
            rivals: ids of the tokens among which its logit should be the largest; it may be one of them.
        """
        try:
            yield self._train(prompt, answer, list(dict.fromkeys([answer, *rivals])))
        finally:
            with torch.no_grad():
                for weight, original in zip(self._trained, self._originals, strict=True):
                    weight.copy_(original)
                    weight.grad = None

    def _train(self, prompt: Sequence[int], answer: int, rivals: list[int]) -> Training:
        """Update until the answer, the first of `rivals`, has enough confidence."""
        recipe, device = self._recipe, self._model.device
        ids, label = torch.tensor([list(prompt)], device=device), torch.tensor([answer], device=device)
        optimiser = torch.optim.SGD(self._trained, lr=recipe.rate)
        for step in itertools.count():
            with torch.enable_grad():
                logits = self._model.last_logits(ids).float()
                confidence = float(logits.detach()[0, rivals].softmax(dim=0)[0])
                if confidence >= recipe.confidence or step == recipe.steps:
                    return Training(step, confidence)
                optimiser.zero_grad()
                loss = torch.nn.functional.cross_entropy(logits, label)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        raise AssertionError("count ends never")
