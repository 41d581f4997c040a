"""How many tokens a forward pass is given, with devices whose speed and size are made up."""

from collections.abc import Callable

import numpy as np
import pytest

import lincorr.model.tuning
from lincorr.model.tuning import FIRST_TOKENS, tune_batch_tokens

PLENTY = 2**40


class Device:
    """Takes `seconds(tokens)` for a pass, on a clock of its own, and holds `most` tokens."""

    def __init__(self, seconds: Callable[[int], float], most: int = 2**30) -> None:
        self.seconds, self.most = seconds, most
        self.now = 0.0
        self.tried: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def trial(self, tokens: int) -> bool:
        self.tried.append(tokens)
        if tokens > self.most:
            return False
        self.now += self.seconds(tokens)
        return True


def tuned(monkeypatch: pytest.MonkeyPatch, device: Device, most: int = 2**16, memory: int = PLENTY) -> int:
    monkeypatch.setattr(lincorr.model.tuning, "time", device)
    return tune_batch_tokens(device.trial, most, memory)


def test_a_device_that_gains_from_size_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launching costs a millisecond: 98 % of the best rate need 33 milliseconds of work."""
    assert tuned(monkeypatch, Device(lambda tokens: 1e-3 + tokens * 1e-6)) == 2**15


def test_a_device_that_gains_nothing_keeps_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuned(monkeypatch, Device(lambda tokens: tokens * 1e-6)) == FIRST_TOKENS


def test_larger_batches_that_are_slower_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: (1e-4 + tokens * 1e-6) * (1 if tokens <= 1024 else 2))
    assert tuned(monkeypatch, device) == 1024


def test_a_slow_device_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: tokens * 0.2)
    assert tuned(monkeypatch, device) == FIRST_TOKENS
    assert device.tried == [FIRST_TOKENS]


class Busy(Device):
    """Shares its processor with something that comes and goes every 20 milliseconds or so."""

    def __init__(self, seconds: Callable[[int], float], seed: int) -> None:
        super().__init__(seconds)
        self.random = np.random.default_rng(seed)
        self.until, self.share = 0.0, 1.0

    def trial(self, tokens: int) -> bool:
        left = self.seconds(tokens) * self.random.uniform(1, 1.05)
        while left > 1e-9:
            if self.until <= self.now + 1e-9:
                self.until = self.now + self.random.exponential(0.02)
                self.share = self.random.choice([1.0, 0.5])
            step = min(left / self.share, self.until - self.now)
            self.now += step
            left -= step * self.share
        return True


def test_what_else_the_machine_does_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the best rate, that of 512 tokens, 128 have 0.88 and 256 have 0.96; one at a time they lost 5 %."""

    def seconds(tokens: int) -> float:
        return 0.010 + tokens * 0.4e-3 + max(0, tokens - 512) * 0.05e-3

    assert tuned(monkeypatch, Device(seconds)) == 512
    rates = []
    for seed in range(100):
        device = Busy(seconds, seed)
        tokens = tuned(monkeypatch, device)
        rates.append(tokens / seconds(tokens))
        assert device.now < 10
    assert np.mean(rates) > 0.965 * 512 / seconds(512)


@pytest.mark.parametrize("slower", [1, 2])
def test_a_busy_machine_tries_the_sizes_of_a_quiet_one(monkeypatch: pytest.MonkeyPatch, slower: int) -> None:
    """A small model on two cores: passes of 512 tokens take 1.7 seconds, or in a test run twice that."""
    device = Device(lambda tokens: slower * (0.08 + tokens * 3.2e-3))
    assert tuned(monkeypatch, device) == 512
    assert device.now < 10


@pytest.mark.parametrize("seconds", [1.0, 1.5, 1.9, 2.1, 2.9, 3.1])
def test_trials_of_a_slow_machine_end_in_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    device = Device(lambda tokens: seconds * tokens / FIRST_TOKENS)
    assert tuned(monkeypatch, device) == FIRST_TOKENS
    assert device.now < 10


def test_trials_of_a_device_that_starts_slowly_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = iter([2.5])
    device = Device(lambda tokens: next(starting, 1e-3 + tokens * 1e-6))
    assert tuned(monkeypatch, device) == 2**15


def test_trials_take_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: 1e-3 * tokens**0.9)
    tuned(monkeypatch, device)
    assert device.now < 10


def test_what_a_device_cannot_hold_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuned(monkeypatch, Device(lambda tokens: 0.1 + tokens * 1e-9, most=300)) == 256


def test_a_device_that_holds_next_to_nothing_is_given_less(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuned(monkeypatch, Device(lambda tokens: 1e-3, most=10)) == FIRST_TOKENS // 2


def test_no_more_than_a_shard_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: 1e-3)
    assert tuned(monkeypatch, device, most=512) == 512
    assert max(device.tried) == 512


def test_memory_that_grows_beyond_its_share_ends_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: 1e-3)
    sizes = iter([0, 10, 30, 60, 120, 240])  # resident bytes before, and after each size

    class Process:
        def memory_info(self) -> "Process":
            self.rss = next(sizes)
            return self

    monkeypatch.setattr("lincorr.model.tuning.psutil.Process", Process)
    assert tuned(monkeypatch, device, memory=200) == 512
