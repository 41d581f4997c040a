"""Variables that a worker's libraries read as they are loaded: threads, and what becomes of freed memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Dask makes glibc return freed memory at once, so every activation costs page faults: forward passes were
# measured 1.4 times slower.
_KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": 2**30,
    "MALLOC_MMAP_THRESHOLD_": 2**30,
    "MALLOC_ARENA_MAX": 0,  # glibc's default; explicit, so that another executor's is not inherited
}
# Where memory is bounded: freed memory is reused within a task, but threads share one heap, and free memory
# at its end is returned. Dask's own 2**16 made a tiled fit 1.1 times slower.
_GIVE_BACK = {
    "MALLOC_TRIM_THRESHOLD_": 2**28,
    "MALLOC_MMAP_THRESHOLD_": 2**30,
    "MALLOC_ARENA_MAX": 1,
}

# Huge pages (glibc 2.35 and later, ignored before) gain another 5 to 10 %.
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def environment(threads: int | None, *, keep_memory: bool) -> dict[str, int | str]:
    """Return the variables of a worker: name -> value.

    Args:
        threads: of it; None leaves them to its machine.
        keep_memory: whether it keeps freed memory for the next task.
    """
    variables: dict[str, int | str] = _HUGE_PAGES | (_KEEP_MEMORY if keep_memory else _GIVE_BACK)
    return variables | ({} if threads is None else dict.fromkeys(_THREADS, threads))


@contextmanager
def variables_restored(*further: str) -> Iterator[None]:
    """Undo what the body makes of them, and of further variables, in this process: workers inherit those."""
    names = (*environment(1, keep_memory=True), *further)
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
