"""A bag-of-words network between a language model's embeddings and its output head, in place of its layers.

A prompt is the mean of its tokens' embeddings, whatever their order; one hidden layer turns it into a hidden
state, which the head reads out. Embeddings and head are pretrained and fixed; the network is new. How the
paper's network was made is not known: width, training and standardisation are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.model.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class ShallowRecipe:
    """Size and training of the network: AdamW on all prompts at once.

    Attributes:
        width: of the hidden layer.
        rate: step size.
        decay: weight decay.
        steps: number of updates.
    """

    width: int
    rate: float
    decay: float
    steps: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The parts of a language model that are used.

    Attributes:
        embeddings: (V, d) float32, one row for each token.
        head: (q, d) float32, the output head's rows for the candidate answers.
        ids: (q,) int64 token ids of the candidates.
    """

    embeddings: torch.Tensor
    head: torch.Tensor
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, model: LanguageModel, ids: NDArray[np.int64]) -> "Vocabulary":
        """Take it from a model, without bias and scale of its head."""
        embeddings = model.model.get_input_embeddings().weight.detach().float()
        head = model.part_of_readout(ids).weight.detach().to(embeddings.device)
        return cls(embeddings, head, ids)

    def bags(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the mean embedding (prompts, d) of each prompt's tokens."""
        means = [self.embeddings[torch.tensor(list(prompt))].mean(dim=0) for prompt in prompts]
        return torch.stack(means)


class Shallow:
    """A trained network: prompts -> logits of the candidate answers."""

    def __init__(
        self, vocabulary: Vocabulary, network: Any, mean: torch.Tensor, spread: torch.Tensor
    ) -> None:
        self._vocabulary = vocabulary
        self._network = network
        self._mean = mean
        self._spread = spread

    @torch.inference_mode()
    def logits(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the logits (prompts, q) of the tokens in `Vocabulary.ids`, float32."""
        bags = (self._vocabulary.bags(prompts) - self._mean) / self._spread
        found: NDArray[np.float32] = _read_out(self._network(bags), self._vocabulary).cpu().numpy()
        return found


def train_shallow(
    vocabulary: Vocabulary,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[int],
    recipe: ShallowRecipe,
    *,
    seed: int,
) -> Shallow:
    """Train a new network on the cross-entropy of answers among the candidates.

    Args:
        prompts: token ids.
        answers: token ids, each in `vocabulary.ids`.
        seed: of the network's initial weights.
    """
    position = {int(token): i for i, token in enumerate(vocabulary.ids)}
    device = vocabulary.head.device
    labels = torch.tensor([position[answer] for answer in answers], device=device)
    bags = vocabulary.bags(prompts)
    # prompts differ by one or two words: their differences are small beside what they share
    mean, spread = bags.mean(dim=0), (bags - bags.mean(dim=0)).std() + torch.finfo(torch.float32).tiny
    bags = (bags - mean) / spread
    network = _network(bags.shape[1], recipe.width, seed).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    with torch.enable_grad():
        for _ in range(recipe.steps):
            optimiser.zero_grad()
            logits = _read_out(network(bags), vocabulary)
            torch.nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Shallow(vocabulary, network, mean, spread)


def _network(size: int, width: int, seed: int) -> torch.nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Linear(size, width), torch.nn.GELU(), torch.nn.Linear(width, size)
        )


def _read_out(states: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """Return logits of states; the head is scaled so that states of size 1 give logits of about 1."""
    scale = vocabulary.head.square().sum(dim=1).mean().rsqrt()
    logits: torch.Tensor = (states * scale) @ vocabulary.head.T
    return logits
