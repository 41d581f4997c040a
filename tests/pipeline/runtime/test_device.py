"""The one thread of a process that computes."""

import threading

import pytest

from pipeline.runtime.device import compute


def test_calls_are_made_on_one_thread_in_turn() -> None:
    threads = {compute(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.timeout(20)
def test_a_call_from_the_compute_thread_does_not_wait_for_itself() -> None:
    assert compute(compute, threading.get_ident) == compute(threading.get_ident)
