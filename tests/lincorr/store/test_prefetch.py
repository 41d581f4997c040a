"""Reading ahead."""

import threading

import pytest

from lincorr.store.prefetch import prefetch


def test_pieces_come_in_order_and_the_next_one_is_read_meanwhile() -> None:
    begun = [threading.Event() for _ in range(4)]

    def read(piece: int) -> int:
        begun[piece].set()
        return 10 * piece

    found = []
    for value in prefetch(read, range(4)):
        found.append(value)
        following = len(found)
        assert following == 4 or begun[following].wait(10)  # though nobody has asked for it
        assert not any(one.is_set() for one in begun[following + 1 :])
    assert found == [0, 10, 20, 30]


def test_no_piece_is_none() -> None:
    assert list(prefetch(str, [])) == []


def test_a_piece_that_cannot_be_read_is_told_when_its_turn_comes() -> None:
    def read(piece: int) -> float:
        return 1 / piece

    coming = prefetch(read, [2, 0])
    assert next(coming) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(coming)
