"""Ctrl-C while processes are started: told at the end, and kept from what was started."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.runtime.interrupts import interrupts_wait

SLEEP = [sys.executable, "-c", "print('here', flush=True); import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """A shell has what a script starts in the background ignore SIGINT, and its children with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start() -> subprocess.Popen[bytes]:
    child = subprocess.Popen(SLEEP, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"here\n"
    return child


def survives_an_interrupt(child: subprocess.Popen[bytes]) -> bool:
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    alive = child.poll() is None
    child.kill()
    child.communicate()
    return alive


def test_an_interrupt_waits_for_the_end_of_the_body():
    reached = []

    def interrupt() -> None:
        with interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_processes_and_threads_that_the_body_starts_do_not_hear_it():
    children = []
    with interrupts_wait():
        children.append(start())
        thread = threading.Thread(target=lambda: children.append(start()))
        thread.start()
        thread.join()
    assert [survives_an_interrupt(child) for child in children] == [True, True]
    assert not survives_an_interrupt(start())  # of one that is started afterwards


def test_a_failure_in_the_body_is_told_as_it_is():
    with pytest.raises(ValueError, match="broken"), interrupts_wait():
        int("broken")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
