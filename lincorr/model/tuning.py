"""How many tokens a forward pass should have, found out by a few seconds of trials."""

import time
from collections.abc import Callable

import psutil

FIRST_TOKENS = 128
_SECONDS = 2.0  # a trial that is expected to take longer is not made
_ENOUGH = 0.98  # of the best rate: smaller batches finish sooner and waste less on padding
_MEMORY_SHARE = 0.5  # of free memory, for activations


def tune_batch_tokens(trial: Callable[[int], bool], most: int, memory_bytes: int) -> int:
    """Return the smallest number of tokens, a power of two, that computes nearly as fast as the best.

    Sizes are doubled from 128 up to `most`, while a pass is expected to take seconds and to fit into memory.

    Args:
        trial: runs a forward pass of about so many tokens to its end; False if the device could not hold it.
        memory_bytes: of the host, free.
    """
    before = psutil.Process().memory_info().rss
    rates: dict[int, float] = {}
    tokens, seconds = FIRST_TOKENS, 0.0
    while tokens <= most and 2 * seconds <= _SECONDS and trial(tokens):
        seconds = _fastest(trial, tokens)
        rates[tokens] = tokens / seconds
        grown = psutil.Process().memory_info().rss - before
        if 2 * grown > _MEMORY_SHARE * memory_bytes:
            break
        tokens *= 2
    if not rates:
        return max(1, min(most, FIRST_TOKENS // 2))
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= _ENOUGH * best)


def _fastest(trial: Callable[[int], bool], tokens: int) -> float:
    """Return the seconds of the fastest of a few passes."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < _SECONDS / 4:
        began = time.perf_counter()
        trial(tokens)
        times.append(time.perf_counter() - began)
    return min(times)
