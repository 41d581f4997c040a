"""What a method is said to hold is what it holds: of the process, with what LAPACK takes for itself."""

import ctypes
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lincorr.readout import Readout
from lincorr.solvers import gram, lowrank
from lincorr.solvers.choose import choose
from lincorr.solvers.direct import direct
from lincorr.solvers.dual import double_centre
from lincorr.solvers.eigen import eigenvectors
from lincorr.solvers.factored import factored
from lincorr.solvers.spectrum import Problem, ridge_path, solve

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WIDTH = 300

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not os.access(RESET, os.W_OK),
    reason="the kernel tells a process's peak, and glibc returns what is free",
)


def held(work: Callable[[], object]) -> int:
    """The bytes by which this process is larger than before, at most, while `work` is done."""
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")  # forget the peak until now
    before = memory("VmRSS")
    work()
    return memory("VmHWM") - before


def memory(name: str) -> int:
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return 1024 * int(line.split()[1])


def random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape)


def fit(problem: Problem) -> None:
    ridge_path(problem, np.array([0.0, 0.1]))
    solve(problem, 0.1)


def by_direct(n: int, p: int, q: int) -> None:
    def problem() -> Problem:
        ids: dict[str, Any] = {"source_ids": np.arange(p), "target_ids": np.arange(1)}
        target = random(n, q)
        found = direct(random(n, p), target[:, :1], storage_eps=0.0, **ids)
        return found.with_targets(target, np.arange(q))

    fit(problem())


def by_factored(n: int, p: int, q: int) -> None:
    stored = Readout(random(p, WIDTH).astype(np.float32))
    head, hidden = stored.as_float64(), random(n, WIDTH)
    columns = head.columns(np.arange(q))
    ids: dict[str, Any] = {"source_ids": np.arange(p), "target_ids": np.arange(q)}
    problem = factored(random(n, WIDTH), hidden[:, :1], head, columns, storage_eps=0.0, **ids)
    fit(problem.with_targets(hidden, columns, np.arange(q)))


def by_gram(n: int, p: int, q: int) -> None:
    total = gram.Moments.of(random(2000, p), random(2000, q))
    total = total.merge(gram.Moments.of(random(2000, p), random(2000, q)))
    ids: dict[str, Any] = {"source_ids": np.arange(p), "target_ids": np.arange(q)}
    gram.gram(total, lambda _: [], storage_eps=0.0, **ids)


def by_dual(n: int, p: int, q: int) -> None:
    eigenvectors(double_centre(random(n, n)), (n, p), noise=0.0)


def by_lowrank(n: int, p: int, q: int) -> None:
    """The core, whose panels come one by one."""
    panels = (random(WIDTH, 400) for _ in range(0, p, 400))
    lowrank.decompose(panels, (n, p), noise=0.0, rank_limit=WIDTH - lowrank.OVERSAMPLING)


CASES: dict[str, tuple[Callable[[int, int, int], None], tuple[int, int, int]]] = {
    "direct, tall": (by_direct, (8000, 400, 200)),
    "direct, wide": (by_direct, (700, 3000, 200)),
    "direct, many targets": (by_direct, (3000, 100, 1500)),
    "factored, of a vocabulary": (by_factored, (400, 25_000, 200)),
    "factored, of many rows": (by_factored, (8000, 2000, 200)),
    "gram": (by_gram, (8000, 1000, 200)),
    "dual": (by_dual, (1000, 4000, 200)),
    "lowrank": (by_lowrank, (1000, 40_000, 200)),
}


def held_by(name: str) -> int:
    work, shape = CASES[name]
    work(400, 320, 100)  # imports what is not imported yet, and gives BLAS its buffers
    return held(lambda: work(*shape))


@pytest.fixture(scope="module")
def new_process() -> Iterator[ProcessPoolExecutor]:
    """A process of the tests of this file alone: others leave holes in the memory of theirs."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield process


@pytest.mark.parametrize("name", CASES)
def test_a_method_holds_no_more_than_is_planned_for_it(name: str, new_process: ProcessPoolExecutor) -> None:
    _, (n, p, q) = CASES[name]
    method: Any = name.partition(",")[0]
    choice = choose(n, p, q, width=WIDTH, hidden=True, memory_bytes=10**12, method=method)
    assert new_process.submit(held_by, name).result() <= choice.worker_bytes
