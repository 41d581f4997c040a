"""Whether a model is causal: transformers loads encoders (BERT, XLNet) as if they were, too."""

from typing import Any

import torch

from lincorr.errors import BadInput, in_one_line
from lincorr.model.checks import rounding
from lincorr.model.language_model import out_of_memory
from lincorr.model.quantized import is_quantized

_PROMPTS, _LENGTH = 3, 4


@torch.inference_mode()
def require_causal(model: Any, vocabulary_size: int, source: str) -> None:
    """Refuse a model in which a token sees those after it, or that does not answer a plain prompt.

    Args:
        model: of transformers.
        vocabulary_size: random token ids are below it.
        source: the name of the model.

    Raises:
        BadInput: another last token changes the logits before it.
    """
    ids = torch.randint(vocabulary_size, (_PROMPTS, _LENGTH), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % vocabulary_size
    try:
        before, after = (model(x.to(model.device), use_cache=False).logits.float() for x in (ids, other))
    except Exception as problem:
        if out_of_memory(problem) or isinstance(problem, MemoryError):
            raise
        raise BadInput(
            f"model: {source!r} does not answer a plain prompt ({in_one_line(problem)}); name another model"
        ) from problem
    # A token that others do not see changes at most how they are rounded. The median over prompts: rounding
    # alone may send a single token to another expert.
    leaked = (after - before)[:, :-1].abs().amax(dim=(1, 2)).median()
    if leaked > rounding(str(model.dtype).removeprefix("torch.")) * before.std():
        if is_quantized(model):
            raise BadInput(
                f"model: {source!r} is not causal as it is quantised: its products round a token's numbers "
                "by what others have; name one of which only the weights are quantised, or the plain one"
            )
        raise BadInput(
            f"model: {source!r} is not causal: its tokens see those after them, as an encoder's do; name a "
            "causal language model"
        )
