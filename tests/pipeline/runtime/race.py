"""Many who take one lease at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lincorr.errors import LincorrError
from pipeline.runtime.lease import _Lease


def takers(of_one: Callable[[], _Lease], count: int) -> int:
    """Let so many threads take a lease at the same moment, each its own; return how many got it."""
    together = threading.Barrier(count)

    def attempt(_: int) -> bool:
        one = of_one()
        together.wait()
        try:
            one.take()
        except LincorrError:
            return False
        return True

    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(attempt, range(count)))
