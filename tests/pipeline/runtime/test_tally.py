"""How far something is, on a clock of its own: the time left against the time that it then took."""

from collections.abc import Iterator
from itertools import count as counting
from itertools import pairwise

import numpy as np
import pytest

from pipeline.runtime.tally import Tally


class Clock:
    """Tells the seconds that it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


SHARD, BATCH = 30_000, 96
SPEED = 40.0  # prompts a second
AUDIT = 0.03  # of the time of a shard; twice what it takes


def worker(name: str, load: float, shards: int) -> Iterator[tuple[float, str, int]]:
    """Yield (time, shard, prompts done) of a worker that loads, and audits every shard in the end."""
    now = load
    for i in range(shards):
        yield now, f"{name}{i}", 0
        for done in [*range(BATCH, SHARD, BATCH), SHARD]:
            now += BATCH / SPEED
            yield now, f"{name}{i}", done
        now += AUDIT * SHARD / SPEED
        yield now, f"{name}{i}", -1  # finished


def looks(
    workers: list[Iterator[tuple[float, str, int]]], total: int
) -> Iterator[tuple[float, Tally, dict[str, int]]]:
    """Have a tally look every 5 seconds, and hear of what is finished at once; yield after each look."""
    clock = Clock()
    tally, steps = Tally(total, clock), dict[str, int]()
    events = sorted(event for one in workers for event in one)
    for clock.now in counting(5.0, 5.0):
        while events and events[0][0] <= clock.now:
            _, shard, done = events.pop(0)
            if done < 0:
                tally(SHARD, shard)
                del steps[shard]
            else:
                steps[shard] = done
        tally.under_way(steps)
        yield clock.now, tally, steps
        if not events:
            return


@pytest.mark.parametrize(("workers", "within"), [(1, 0.1), (8, 0.06)])
def test_the_time_left_of_large_shards_is_steady_and_right(workers: int, within: float) -> None:
    """Shards of ten minutes and more: a bar that counted whole ones would stand still for as long."""
    total = 3 * workers * SHARD
    made = [worker(f"{i}-", 20 + i, 3) for i in range(workers)]
    said = [(now, tally.seconds_left, tally.done) for now, tally, _ in looks(made, total)]
    end = said[-1][0]
    assert said[-1][2] == total
    known = [(now, left) for now, left, _ in said if left is not None]
    assert known[0][0] < 40  # it is known soon
    for now, left in known[20:]:
        assert abs(left - (end - now)) < within * (end - now) + AUDIT * SHARD / SPEED + 10
    for (_, left), (_, later) in pairwise(known[20:]):
        assert abs(later - left) < within * left + 10
    moves = [b - a for (_, _, a), (_, _, b) in pairwise(said[10:])]
    assert max(moves) <= workers * (5 * SPEED + BATCH)


def test_what_a_lost_worker_did_is_not_counted_and_the_rate_stays() -> None:
    clock = Clock()
    tally = Tally(40_000, clock)
    for second in range(1, 101):
        clock.now = second
        tally.under_way({"a": 100 * second, "b": 50 * second})
    assert tally.done == 15_000
    assert tally.rate == pytest.approx(150, rel=0.02)
    tally.under_way({"b": 5000})  # the worker of a is gone
    assert tally.done == 5000
    for second in range(101, 201):
        clock.now = second
        tally.under_way({"a": 100 * (second - 100), "b": 50 * second})
        assert tally.rate == pytest.approx(150, rel=0.05)
    assert tally.done == 20_000
    assert tally.seconds_left == pytest.approx(20_000 / 150, rel=0.02)


def test_a_shard_that_begins_again_between_two_looks_counts_once() -> None:
    tally = Tally(100, Clock())
    for done in (60, 10, 50):
        tally.under_way({"a": done})
        assert tally.done == done
    tally(100, "a")
    assert tally.done == 100
    tally.under_way({})
    assert tally.done == 100


def test_loading_a_model_says_nothing_of_the_rate() -> None:
    clock = Clock()
    tally = Tally(1000, clock)
    for clock.now, steps in [(200, {}), (250, {"a": 0}), (260, {"a": 0}), (280, {"a": 30}), (290, {"a": 40})]:
        tally.under_way(steps)
    assert tally.rate == 1


@pytest.mark.parametrize("apart", [0.05, 1, 20, 100])
def test_the_rate_is_that_of_the_last_minutes_however_often_steps_come(apart: float) -> None:
    """100 a second, and after 1,000 seconds 40."""
    clock = Clock()
    tally = Tally(10**6, clock)
    for clock.now in np.arange(apart, 1000 + apart / 2, apart):
        tally(round(100 * apart))
    assert tally.rate == pytest.approx(100)
    for clock.now in np.arange(1000 + apart, 1400, apart):
        tally(round(40 * apart))
    assert tally.rate == pytest.approx(40)
    assert len(tally._remembered) < 400


def test_before_anything_is_done_no_rate_is_known() -> None:
    clock = Clock()
    tally = Tally(7, clock)
    clock.now = 600
    assert (tally.done, tally.rate, tally.seconds_left, tally.seconds) == (0, None, None, 600)
    tally(1)  # the first of a few: its whole time counts
    assert tally.rate == 1 / 600
    assert tally.seconds_left == pytest.approx(3600)
