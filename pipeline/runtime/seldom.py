"""Events that may come a thousand times, told a few times."""


def is_told(count: int) -> bool:
    """Return whether the count-th event of its kind is told: the first, second, fourth, eighth and so on."""
    return count & (count - 1) == 0
