"""How many tokens a forward pass should have, found out by a few seconds of trials."""

import math
import time
from collections.abc import Callable
from statistics import median

import psutil

FIRST_TOKENS = 128
_USUAL_TOKENS = 512  # sizes up to this are tried also where passes are slow: many a machine is best with it
_USUAL_SECONDS, _PASS_SECONDS = 4.0, 1.0  # a pass that is expected to take longer is not tried
_SHORT_SECONDS = 0.5  # a pass up to this is made twice at first: the first one allocates
_COLD_SECONDS = 3.0  # the same for the very first, which also starts the device
_TURN_SECONDS = 0.25  # of a size in a round, or the time of a pass
_ALL_SECONDS = 8.0  # no round begins that would end later
_ROUNDS = 9  # at most
_ENOUGH = 0.98  # of the best rate: smaller batches finish sooner and waste less on padding
_MEMORY_SHARE = 0.5  # of free memory, for activations


def tune_batch_tokens(trial: Callable[[int], bool], most: int, memory_bytes: int) -> int:
    """Return the smallest number of tokens, a power of two, that computes nearly as fast as the best.

    Sizes are doubled from 128 up to `most`, while a pass is expected to take seconds and to fit into memory.
    Then they take turns of about the same length, so that whatever else the machine does slows all alike, and
    the median of each size's turns counts.

    Args:
        trial: runs a forward pass of about so many tokens to its end; False if the device could not hold it.
        memory_bytes: of the host, free.
    """
    began = time.perf_counter()
    first = _first_passes(trial, most, memory_bytes, began)
    if not first:
        return max(1, min(most, FIRST_TOKENS // 2))
    turn = min(_TURN_SECONDS, max(first.values()))
    passes = {tokens: max(1, round(turn / seconds)) for tokens, seconds in first.items()}
    rounds = [first]
    needed = sum(count * first[tokens] for tokens, count in passes.items())
    while len(rounds) <= _ROUNDS and time.perf_counter() - began + needed <= _ALL_SECONDS:
        began_round = time.perf_counter()
        rounds.append({tokens: _timed(trial, tokens, count) for tokens, count in passes.items()})
        needed = time.perf_counter() - began_round
    rates = {tokens: tokens / median(one[tokens] for one in rounds[1:] or rounds) for tokens in first}
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= _ENOUGH * best)


def _first_passes(
    trial: Callable[[int], bool], most: int, memory_bytes: int, began: float
) -> dict[int, float]:
    """Find the sizes that can be tried: tokens -> seconds of a pass. The trials began at `began`."""
    before = psutil.Process().memory_info().rss
    found: dict[int, float] = {}
    tokens, seconds = FIRST_TOKENS, 0.0
    while tokens <= most:
        longest = _USUAL_SECONDS if tokens <= _USUAL_TOKENS else _PASS_SECONDS
        if 2 * seconds > min(longest, _ALL_SECONDS - (time.perf_counter() - began)):
            break
        seconds = _timed(trial, tokens)
        if seconds <= (_SHORT_SECONDS if found else _COLD_SECONDS):
            seconds = _timed(trial, tokens)
        if seconds == math.inf:
            break
        found[tokens] = seconds
        grown = psutil.Process().memory_info().rss - before
        if 2 * grown > _MEMORY_SHARE * memory_bytes:
            break
        tokens *= 2
    return found


def _timed(trial: Callable[[int], bool], tokens: int, passes: int = 1) -> float:
    """Return the seconds of a pass, of several the mean; infinity if the device could not hold it."""
    began = time.perf_counter()
    held = all(trial(tokens) for _ in range(passes))
    return (time.perf_counter() - began) / passes if held else math.inf
