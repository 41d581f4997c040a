"""Answers and ground truth of arithmetic prompts such as "X+1="."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial

# The paper's domain of eleven answers.
NUMBERS = range(11)
# X whose answers may be among them: X/4 is 10 for X = 40, X+4 is 0 for X = -4.
_SUBJECTS = range(-50, 51)

_OPERATIONS: dict[str, Callable[[int, int], Fraction]] = {
    "plus": lambda x, n: Fraction(x + n),
    "minus": lambda x, n: Fraction(x - n),
    "times": lambda x, n: Fraction(x * n),
    "over": Fraction,
}
_PROMPTS = tuple(f"{operation}-{n}" for operation in _OPERATIONS for n in (1, 2, 3, 4))

Pairs = tuple[tuple[str, str], ...]


def numbers() -> tuple[str, ...]:
    """The numbers 0 to 10."""
    return tuple(map(str, NUMBERS))


@cache
def truth(source: str, target: str) -> Pairs:
    """Pairs of answers to two prompts ("plus-1", "times-2") that some whole number X gives.

    X = 1 gives the answers 2 to X+1 and 2 to X*2. X may be negative: X+1 is 0 where X+2 is 1.
    """
    both = ((_result(source, x), _result(target, x)) for x in _SUBJECTS)
    return tuple((str(a), str(b)) for a, b in both if a in NUMBERS and b in NUMBERS)


def _result(prompt: str, x: int) -> Fraction:
    operation, n = prompt.split("-")
    return _OPERATIONS[operation](x, int(n))


ANSWERS: dict[str, Callable[[], tuple[str, ...]]] = {"numbers": numbers}
TRUTH: dict[str, Callable[[], Pairs]] = {
    f"{source}-{target}": partial(truth, source, target)
    for source in _PROMPTS
    for target in _PROMPTS
    if source != target
}
