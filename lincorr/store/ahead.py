"""Reading ahead: while one piece is used, the next is read."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Read = TypeVar("Read")


def ahead(read: Callable[[Piece], Read], pieces: Iterable[Piece]) -> Iterator[Read]:
    """Yield ``read(piece)`` for all pieces, in order; the next one is read on a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Read]] = deque()
        for piece in pieces:
            coming.append(pool.submit(read, piece))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
