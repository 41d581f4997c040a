"""Processes of tests: verbs of the command line that they start, and workers, as the system shows them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def starting() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Yield what starts a command line in a process of its own, with one thread; leave no process behind."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # where the run's own process computes
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:  # a test failed
                client = psutil.Process(process.pid)
                for part in [*client.children(recursive=True), client]:
                    part.kill()
            process.communicate()


def heed_interrupts() -> None:
    """A shell starts what runs in its background deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def worker_processes(client: int | None = None) -> list[psutil.Process]:
    """Return Dask's worker processes below a client's process, or below this one: spawned, or forked."""
    found = []
    for child in psutil.Process(client).children(recursive=True):
        if child.status() == psutil.STATUS_ZOMBIE:
            continue
        forked = all("multiprocessing.forkserver" in _command(one) for one in (child, child.parent()))
        if forked or "spawn_main" in _command(child):
            found.append(child)
    return found


def _command(process: psutil.Process | None) -> str:
    return "" if process is None else " ".join(process.cmdline())
