"""Reading one piece ahead, or writing one behind, on a thread of its own."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Read = TypeVar("Read")


def prefetch(read: Callable[[Piece], Read], pieces: Iterable[Piece]) -> Iterator[Read]:
    """Yield ``read(piece)`` for all pieces, in order; whatever `read` raises is raised here.

    Pieces are made one ahead, by the thread that asks; `read` runs on its own, and may as well write what was
    made. Two results are in memory at most: the one that was yielded and the next.
    """
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Read]] = deque()
        for piece in pieces:
            coming.append(pool.submit(read, piece))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
