"""One batch of prompts -> the last hidden states and the logits at the last position.

Torch lives here, in `models.py`, `transfer.py`, `editing.py`, `gradients.py` and `shallow.py`.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from lincorr.errors import LincorrError
from lincorr.model.transfer import Transfer
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import Batch, TreeShape
from lincorr.readout import Readout

# How far a short cut may be from the model's own way, in standard deviations of what is compared: both
# round in the model's precision, but not alike.
_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_CHECK_PROMPTS = 8
_CHECK_LENGTH = 6
_CHECK_TREE = TreeShape(parents=(-1, 0, 1, 2, 3, 2, 5, 6), ends=(4, 7, 2))
_CHECK_TRUNK = TreeShape(parents=(-1, 0, 1, 0, 2, 4, 3, 6), ends=(5, 7), trunk=(0, 0, 0, 0))

Logits = list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Check:
    """A short cut against the model's own way, on a few random prompts.

    Attributes:
        difference: what was found, and
        tolerance: what is accepted, in the same unit.
    """

    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the short cut may be taken with this model."""
        return self.difference <= self.tolerance


_FAILED = Check(float("inf"), 0.0)


class LanguageModel:
    """A causal language model with its tokenizer and output head, on one device.

    Prompts come as int64 arrays of one length, (batch, T), never padded: several architectures ignore an
    attention mask when they derive positions.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, device: str) -> None:
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.readout = _readout(model, len(tokenizer))
        self._transfer = Transfer(device)
        self._trees: dict[TreeShape, tuple[torch.Tensor, torch.Tensor]] = {}
        self._trunks: dict[tuple[TreeShape, tuple[int, ...]], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        accepted = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def vocabulary_size(self) -> int:
        """Tokens that the tokenizer knows and the head scores; padded rows of the head are left out."""
        return int(self.readout.weight.shape[0])

    @property
    def width(self) -> int:
        """Size of the hidden state that enters the output head."""
        return int(self.readout.weight.shape[1])

    @torch.inference_mode()
    def hidden(self, ids: NDArray[np.int64], shape: TreeShape | None = None) -> NDArray[np.float32]:
        """Return the states that enter the head at the end of every prompt, as float32.

        Args:
            ids: (batch, T) token ids of prompts, or of prompt trees of one `shape` with k ends.

        Returns:
            (batch, width), or (batch, k, width) for trees.
        """
        states = self._states(ids, shape)
        return _host(states[:, -1] if shape is None else _at_ends(states, shape))

    def hidden_and_logits(
        self, ids: NDArray[np.int64], shape: TreeShape, readouts: Sequence[Readout]
    ) -> tuple[NDArray[np.float32], Logits]:
        """Return hidden states (batch, k, width) of trees, and their logits, end by end.

        Args:
            ids: (batch, T) the trees' own token ids, without the trunk's.
            readouts: k parts of this model's own head, one for each end.
        """
        return self._begin(ids, shape, readouts)()

    def passes(
        self, batches: Iterable[Batch], readouts: Sequence[Readout]
    ) -> Iterator[tuple[Batch, NDArray[np.float32], Logits]]:
        """Make the forward passes of batches; yield each with its hidden states and logits.

        One batch is always under way: a GPU computes it while the host takes in the one before. A batch
        that the device cannot hold is cut in two, and so are its halves.

        Raises:
            LincorrError: not even one prompt tree fits.
        """
        under_way: deque[tuple[Batch, Callable[[], tuple[NDArray[np.float32], Logits]]]] = deque()
        waiting = deque[Batch]()
        for batch in batches:
            waiting.append(batch)
            while waiting:
                next_one = waiting.popleft()
                try:
                    under_way.append((next_one, self._begin(next_one.ids, next_one.shape, readouts)))
                except RuntimeError as problem:
                    waiting.extendleft(reversed(_smaller(next_one, problem)))
                    continue
                if len(under_way) > 1:
                    done, arrive = under_way.popleft()
                    yield done, *arrive()
        for done, arrive in under_way:
            yield done, *arrive()

    @torch.inference_mode()
    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the model's own logits (batch, vocabulary) at the last position, as float32."""
        return _host(self.last_logits(self._tensor(ids)))

    def last_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Likewise as a tensor in the model's precision, with gradients where they are enabled."""
        output = self.model(ids, use_cache=False, **self._last_only)
        logits: torch.Tensor = output.logits[:, -1, : self.vocabulary_size]
        return logits

    def layer_weights(self, last: int | None = None) -> list[torch.nn.Parameter]:
        """Return the weights of the decoder's last layers; None: of all.

        Raises:
            LincorrError: no list of layers is found.
        """
        wanted = self.model.config.get_text_config().num_hidden_layers
        for module in self.model.modules():  # whatever its architecture calls it
            if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
                layers = module if last is None else module[-last:]
                return [weight for layer in layers for weight in layer.parameters()]
        raise LincorrError("model: its decoder has no list of layers whose weights could be told apart")

    def part_of_readout(self, columns: NDArray[np.int64] | None) -> Readout:
        """Return the head for some token ids (None: all), in float32 on the model's device."""
        head = self.readout if columns is None else self.readout.columns(self._tensor(columns))
        bias = None if head.bias is None else head.bias.float()
        return Readout(head.weight.float(), bias, head.scale, head.softcap)

    def host_readout(self) -> Readout:
        """Return the whole head as float32 NumPy arrays."""
        head = self.readout
        bias = None if head.bias is None else _host(head.bias)
        return Readout(_host(head.weight), bias, head.scale, head.softcap)

    TRIAL_LENGTH = 8

    def try_pass(self, tokens: int) -> bool:
        """Make a forward pass of random prompts with so many tokens; False if the device cannot hold it."""
        return self._try(self.hidden, tokens)

    def try_whole_pass(self, tokens: int) -> bool:
        """Likewise with the model's own head."""
        return self._try(self.logits, tokens)

    def _try(self, forward: Callable[[NDArray[np.int64]], NDArray[np.float32]], tokens: int) -> bool:
        try:
            forward(self._random_ids(self.TRIAL_LENGTH, max(1, tokens // self.TRIAL_LENGTH)))
        except RuntimeError as problem:
            if out_of_memory(problem):
                return False
            raise
        return True

    def check_readout(self) -> Check:
        """Compare the read-out of hidden states with the model's own logits."""
        ids = self._random_ids(_CHECK_LENGTH)
        own = self.logits(ids)
        try:
            chain = TreeShape(tuple(range(-1, _CHECK_LENGTH - 1)), (_CHECK_LENGTH - 1,))
            _, (ours,) = self.hidden_and_logits(ids, chain, [self.part_of_readout(None)])
        except (AttributeError, TypeError, RuntimeError):  # no plain decoder under the head
            return _FAILED
        tolerance = _TOLERANCE.get(self.dtype, 1e-4) * float(own.std())
        return Check(float(np.abs(own - ours).max()), tolerance)

    def check_trees(self) -> Check:
        """Compare the hidden states of prompt trees with those of their prompts, one by one."""
        return self._check_shape(_CHECK_TREE)

    def check_trunk(self) -> Check:
        """Likewise for prompt trees that grow from a trunk."""
        trunk = self._random_ids(len(_CHECK_TRUNK.trunk), prompts=1)[0]
        return self._check_shape(replace(_CHECK_TRUNK, trunk=tuple(trunk.tolist())))

    def _check_shape(self, shape: TreeShape) -> Check:
        own = self._random_ids(shape.own_tokens)
        try:
            together = self.hidden(own, shape)
        except Exception:  # whatever a model raises that takes no 4-D mask, no positions or no cache
            return _FAILED
        trunk = np.broadcast_to(np.array(shape.trunk, dtype=np.int64), (len(own), len(shape.trunk)))
        whole, seen = np.concatenate([trunk, own], axis=1), shape.visible()
        alone = [self.hidden(whole[:, seen[end]]) for end in shape.ends]
        return self._compare(np.stack(alone, axis=1), together)

    def _compare(self, alone: NDArray[np.float32], together: NDArray[np.float32]) -> Check:
        """Take the median over prompts, the worst over ends.

        A wrong mask spoils every prompt of an end; rounding alone spoils a single prompt at times, where
        special tokens make its state large (seen: SmolLM2).
        """
        by_prompt = (together - alone).std(axis=-1) / alone.std(axis=-1)
        return Check(float(np.median(by_prompt, axis=0).max()), _TOLERANCE.get(self.dtype, 1e-4))

    def _random_ids(self, length: int, prompts: int = _CHECK_PROMPTS) -> NDArray[np.int64]:
        return np.random.default_rng(0).integers(self.vocabulary_size, size=(prompts, length))

    def _tensor(self, ids: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self.device)

    @torch.inference_mode()
    def _begin(
        self, ids: NDArray[np.int64], shape: TreeShape, readouts: Sequence[Readout]
    ) -> Callable[[], tuple[NDArray[np.float32], Logits]]:
        """Start a forward pass; what is returned waits for its hidden states and logits."""
        states = _at_ends(self._states(ids, shape), shape).float()
        logits = [self._transfer.start(head.logits(states[:, end])) for end, head in enumerate(readouts)]
        hidden = self._transfer.start(states)
        return lambda: (hidden(), [one() for one in logits])

    def _states(self, ids: NDArray[np.int64], shape: TreeShape | None) -> torch.Tensor:
        """Run the model without its head: (batch, T, width)."""
        extra: dict[str, Any] = {"use_cache": False}
        if shape is not None and not shape.is_chain:
            extra = self._tree(shape, len(ids))
        output = self.model.base_model(self._tensor(ids), **extra)
        states: torch.Tensor = output.last_hidden_state
        return states

    def _tree(self, shape: TreeShape, n_trees: int) -> dict[str, Any]:
        """Return what tells the model how the tokens of trees hang together."""
        if shape not in self._trees:
            own = slice(len(shape.trunk), None)
            lowest = torch.finfo(self.model.dtype).min
            hidden = torch.from_numpy(~shape.visible()[own])
            mask = torch.zeros(hidden.shape, dtype=self.model.dtype).masked_fill(hidden, lowest)
            positions = torch.from_numpy(shape.depths()[own])
            self._trees[shape] = (mask[None, None].to(self.device), positions[None].to(self.device))
        mask, positions = self._trees[shape]
        arguments: dict[str, Any] = {
            "attention_mask": mask.expand(n_trees, 1, *mask.shape[2:]),
            "position_ids": positions.expand(n_trees, -1),
            "use_cache": False,
        }
        if shape.trunk:
            layers = [
                (k.expand(n_trees, -1, -1, -1), v.expand(n_trees, -1, -1, -1)) for k, v in self._trunk(shape)
            ]
            arguments |= self._cached(DynamicCache(layers))
        return arguments

    def _trunk(self, shape: TreeShape) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the keys and values of a shape's trunk, layer by layer; computed once."""
        key = (shape.trunk_shape, shape.trunk)
        if key not in self._trunks:
            cache: Any = DynamicCache()
            arguments = self._tree(key[0], 1) | self._cached(cache)
            self.model.base_model(self._tensor(np.array([shape.trunk])), **arguments)
            self._trunks[key] = [(layer.keys, layer.values) for layer in cache.layers]
        return self._trunks[key]

    def _cached(self, cache: DynamicCache) -> dict[str, Any]:
        """Return what has the model read a cache of keys and values, and append to it."""
        accepted = inspect.signature(self.model.base_model.forward).parameters
        name = "cache" if "cache" in accepted else "past_key_values"  # its name before transformers 5.24
        return {name: cache, "use_cache": True}


def _at_ends(states: torch.Tensor, shape: TreeShape) -> torch.Tensor:
    """Pick the states (batch, k, width) where prompts end."""
    return states[:, [end - len(shape.trunk) for end in shape.ends]]


def _smaller(batch: Batch, problem: RuntimeError) -> list[Batch]:
    """Cut a batch that the device could not hold in two; raise what is another problem."""
    if not out_of_memory(problem):
        raise problem
    if len(batch.ids) == 1:
        raise LincorrError(
            f"extract: the device has no memory for one prompt tree of {batch.shape.own_tokens} tokens; "
            "take a smaller model.dtype, fewer relations, or a larger device"
        ) from problem
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [half for half in batch.halves() if len(half.rows)]


def out_of_memory(problem: BaseException) -> bool:
    """Whether torch failed for want of memory, on a GPU or on the host."""
    return isinstance(problem, torch.OutOfMemoryError) or "can't allocate memory" in str(problem)


def _host(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array


def _readout(model: Any, n_tokens: int) -> Readout:
    """Find the head of any `AutoModelForCausalLM`: tied or not, with bias, scaled or soft-capped."""
    head = model.get_output_embeddings()
    config = model.config
    bias = getattr(head, "bias", None)
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale *= float(getattr(config, "lm_head_multiplier", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Readout(
        head.weight.detach()[:n_tokens],
        None if bias is None else bias.detach()[:n_tokens],
        scale,
        None if softcap is None else float(softcap),
    )
