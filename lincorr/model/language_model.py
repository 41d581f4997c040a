"""A causal language model: batches of prompts -> the last hidden states, and logits at the last position."""

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.model.last_layer import LastFeedForward
from lincorr.model.parts import find_decoder, find_readout
from lincorr.model.placement import devices_of, is_placed
from lincorr.model.quantized import is_quantized
from lincorr.model.reach import RotaryState, reach
from lincorr.model.transfer import Transfer, upload
from lincorr.model.tree_inputs import TreeInputs
from lincorr.prompts.tokens import Tokenizer, token_ids
from lincorr.prompts.trees import Batch, TreeShape
from lincorr.readout import Readout

Logits = list[NDArray[np.float32]]


class Reads(Protocol):
    """Whatever makes numbers of the states that enter the head."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return numbers (batch, columns) of states (batch, width)."""
        ...


@dataclass(frozen=True, slots=True)
class _WithTotal:
    """Reads the logits of some tokens, and behind them the log of the sum of all tokens' exponentials."""

    head: Readout
    columns: torch.Tensor

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        every: torch.Tensor = self.head.logits(hidden)
        return torch.cat([every[:, self.columns], every.logsumexp(dim=1, keepdim=True)], dim=1)


class LanguageModel:
    """A causal language model with its tokenizer and output head, on one device or spread over several.

    Prompts are int64 arrays of one length, (batch, T), never padded: several architectures ignore an
    attention mask when they derive positions.

    Attributes:
        model: of transformers, in evaluation mode.
        decoder: the part of it below the output head.
        device: where token ids go.
        dtype: precision of the weights, such as "float32".
        quantization: a phrase that says how the weights are quantised; empty where they are not.
        readout: the output head, in the model's precision, on the last of the model's devices.
    """

    # Tokens of each prompt of a trial pass.
    TRIAL_LENGTH = 8

    def __init__(self, model: Any, tokenizer: Tokenizer, device: str, quantization: str = "") -> None:
        self.model = (model if is_placed(model) else model.to(device)).eval()
        self.decoder = find_decoder(model)
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.quantization = quantization
        self.readout = find_readout(self.model, token_ids(tokenizer)[-1] + 1)
        self._head_device = self.readout.weight.device
        self._transfer = Transfer(str(self._head_device))
        self._ahead = max(1, len(devices_of(model)))
        self._trees = TreeInputs(self.decoder, device)
        self._reach = reach(model.config)
        self._rotary = RotaryState(model)
        self._last_feed_forward = LastFeedForward(self._layers())
        accepted = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def vocabulary_size(self) -> int:
        """One more than the largest id of a token; padding rows of the head are left out."""
        return int(self.readout.weight.shape[0])

    @property
    def reads_ends_only(self) -> bool:
        """Whether the last layer's feed-forward network is known, so that passes can be made `ends_only`."""
        return self._last_feed_forward.known

    @property
    def width(self) -> int:
        """Size of the hidden state that enters the output head."""
        return int(self.readout.weight.shape[1])

    @torch.inference_mode()
    def hidden(
        self, ids: NDArray[np.int64], shape: TreeShape | None = None, *, ends_only: bool = False
    ) -> NDArray[np.float32]:
        """Return the states that enter the head at the end of every prompt, float32.

        Args:
            ids: (batch, T) token ids of prompts, or of prompt trees of one `shape` with k ends.
            ends_only: whether trees' last feed-forward network is computed only where their prompts end.

        Returns:
            (batch, width), or (batch, k, width) for trees.
        """
        if shape is None:
            return _host(self._decode(ids)[:, -1])
        return _host(self._end_states(ids, shape, ends_only=ends_only))

    def hidden_and_logits(
        self, ids: NDArray[np.int64], shape: TreeShape, readouts: Sequence[Reads], *, ends_only: bool = False
    ) -> tuple[NDArray[np.float32], Logits]:
        """Return hidden states (batch, k, width) of trees, and logits (batch, columns) of each end, float32.

        Args:
            ids: (batch, T) the trees' own token ids, without the trunk's.
            readouts: k parts of this model's own head, one for each end (see `part_of_readout`).
            ends_only: as of `hidden`.
        """
        return self._begin(ids, shape, readouts, ends_only=ends_only)()

    def passes(
        self, batches: Iterable[Batch], readouts: Sequence[Reads], *, ends_only: bool = False
    ) -> Iterator[tuple[Batch, NDArray[np.float32], Logits]]:
        """Run the forward passes of batches; yield each with its hidden states and logits.

        One batch for each device is always in flight: a GPU computes it while the next has the one before,
        and the host receives the last. A batch that the device cannot hold is split in two, and so are its
        halves.

        Raises:
            LincorrError: the device cannot hold even one prompt tree.
        """
        in_flight: deque[tuple[Batch, Callable[[], tuple[NDArray[np.float32], Logits]]]] = deque()
        waiting = deque[Batch]()
        for batch in batches:
            waiting.append(batch)
            while waiting:
                next_one = waiting.popleft()
                try:
                    begun = self._begin(next_one.ids, next_one.shape, readouts, ends_only=ends_only)
                    in_flight.append((next_one, begun))
                except RuntimeError as problem:
                    waiting.extendleft(reversed(_smaller(next_one, problem)))
                    continue
                if len(in_flight) > self._ahead:
                    done, arrive = in_flight.popleft()
                    yield done, *arrive()
        for done, arrive in in_flight:
            yield done, *arrive()

    @torch.inference_mode()
    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the model's own logits (batch, vocabulary) at the last position, float32."""
        return _host(self.last_logits(self._tensor(ids)))

    def last_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the same logits as a tensor in the model's precision, with gradients if they are enabled."""
        self._rotary.forget()
        output = self.model(ids, use_cache=False, **self._last_only)
        logits: torch.Tensor = output.logits[:, -1, : self.vocabulary_size]
        return logits

    def layers(self) -> list[torch.nn.Module]:
        """Return the decoder's layers, in order.

        Raises:
            LincorrError: they are not found.
        """
        if found := self._layers():
            return found
        raise LincorrError("model: its decoder has no list of layers, so that none can be selected")

    def layer_weights(self, last: int | None = None) -> list[torch.nn.Parameter]:
        """Return the weights of the decoder's last layers, or of all (None).

        Raises:
            LincorrError: the decoder's layers are not found, or their weights are quantised.
        """
        if is_quantized(self.model):
            raise LincorrError("model: its weights are quantised and have no gradients; name the plain model")
        chosen = self.layers() if last is None else self.layers()[-last:]
        return [weight for layer in chosen for weight in layer.parameters()]

    def odd_weight(self) -> tuple[str, str] | None:
        """Return the first weight that is not finite, or else is all zero: its name, and which of both."""
        weights = dict(self.model.named_parameters())
        wrong = {name: "has NaN or infinite values" for name, w in weights.items() if not w.isfinite().all()}
        wrong |= {name: "is all zero" for name, w in weights.items() if w.ndim > 1 and not w.any()}
        return next(iter(wrong.items()), None)

    def part_of_readout(self, columns: NDArray[np.int64] | None) -> Readout:
        """Return the head for some token ids, or for all (None), in float32 on the head's device."""
        head = self.readout if columns is None else self.readout.columns(self._of_head(columns))
        bias = None if head.bias is None else head.bias.float()
        return Readout(head.weight.float(), bias, head.scale, head.softcap)

    def readouts_with_totals(self, columns: Sequence[NDArray[np.int64]]) -> list[Reads]:
        """Return the head for several lists of token ids, each with one number more: log Σ exp of all logits.

        A token's logit less that number is the log of its probability.
        """
        head = self.part_of_readout(None)
        return [_WithTotal(head, self._of_head(ids)) for ids in columns]

    def host_readout(self) -> Readout:
        """Return the whole head as float32 NumPy arrays."""
        head = self.readout
        bias = None if head.bias is None else _host(head.bias)
        return Readout(_host(head.weight), bias, head.scale, head.softcap)

    def try_pass(self, tokens: int) -> bool:
        """Run a forward pass of random prompts with so many tokens; False if the device cannot hold it."""
        return self._try(self.hidden, tokens)

    def try_whole_pass(self, tokens: int) -> bool:
        """Run such a pass with the model's own head; False if the device cannot hold it."""
        return self._try(self.logits, tokens)

    def _try(self, forward: Callable[[NDArray[np.int64]], NDArray[np.float32]], tokens: int) -> bool:
        try:
            forward(self.random_prompts(max(1, tokens // self.TRIAL_LENGTH), self.TRIAL_LENGTH))
        except RuntimeError as problem:
            if out_of_memory(problem):
                return False
            raise
        return True

    def random_prompts(self, count: int, length: int) -> NDArray[np.int64]:
        """Return prompts (count, length) of random token ids, the same at every call."""
        return np.random.default_rng(0).integers(self.vocabulary_size, size=(count, length))

    def _tensor(self, ids: NDArray[np.int64]) -> torch.Tensor:
        return upload(ids, self.device)

    def _of_head(self, columns: NDArray[np.int64]) -> torch.Tensor:
        return upload(columns, str(self._head_device))

    def _layers(self) -> list[torch.nn.Module]:
        wanted = getattr(self.model.config.get_text_config(), "num_hidden_layers", None)
        for module in self.model.modules():  # whatever the architecture calls its list of layers
            if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
                return list(module)
        return []

    @torch.inference_mode()
    def _begin(
        self, ids: NDArray[np.int64], shape: TreeShape, readouts: Sequence[Reads], *, ends_only: bool
    ) -> Callable[[], tuple[NDArray[np.float32], Logits]]:
        """Start a forward pass; what is returned waits for its hidden states and logits."""
        states = self._end_states(ids, shape, ends_only=ends_only).to(self._head_device).float()
        logits = [self._transfer.start(head.logits(states[:, end])) for end, head in enumerate(readouts)]
        hidden = self._transfer.start(states)
        return lambda: (hidden(), [one() for one in logits])

    def _end_states(self, ids: NDArray[np.int64], shape: TreeShape, *, ends_only: bool) -> torch.Tensor:
        """Run the decoder on trees: the states (batch, k, width) where their prompts end.

        A tree beyond the decoder's reach is computed prompt by prompt, as its rule for one prompt is.
        """
        if len(shape.parents) > self._reach:
            return torch.stack([self._decode(prompts)[:, -1] for prompts in shape.prompts(ids)], dim=1)
        ends = self._trees.ends(shape)
        extra = {} if shape.is_chain else self._trees.of(shape, len(ids))
        with self._last_feed_forward.only_at(ends if ends_only else None):
            states = self._decode(ids, **extra)
        return states.index_select(1, ends.to(states.device))

    def _decode(self, ids: NDArray[np.int64], **extra: Any) -> torch.Tensor:
        """Run the decoder: (batch, T, width)."""
        self._rotary.forget()
        output = self.decoder(self._tensor(ids), **({"use_cache": False} | extra))
        states: torch.Tensor = output.last_hidden_state
        return states


def _smaller(batch: Batch, problem: RuntimeError) -> list[Batch]:
    """Split a batch that the device could not hold; raise `problem` if it is another one."""
    if not out_of_memory(problem):
        raise problem
    if len(batch.ids) == 1:
        raise LincorrError(
            f"extract: the device has no memory for one prompt tree of {batch.shape.own_tokens} tokens; "
            "use a smaller model.dtype, fewer relations, or a larger device"
        ) from problem
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [half for half in batch.halves() if len(half.rows)]


def out_of_memory(problem: BaseException) -> bool:
    """Whether torch ran out of memory, on a GPU or on the host."""
    return isinstance(problem, torch.OutOfMemoryError) or "can't allocate memory" in str(problem)


def _host(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
