"""Wording of refusals: values, lists of names and suggestions, short enough for one line."""

import difflib
from collections.abc import Iterable, Sequence

_MOST_LETTERS = 80
_MOST_NAMES = 12


def short(value: object) -> str:
    """The value as Python writes it, cut to 80 letters."""
    text = repr(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."


def enumeration(names: Sequence[str], conjunction: str = "and") -> str:
    """The names in quotes: 'a', 'b' and 'c'."""
    quoted = [repr(name) for name in names]
    return f" {conjunction} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def suggestion(value: str, known: Iterable[str]) -> str:
    """What to give in place of an unknown name: the nearest known ones, or else the first twelve."""
    names = list(known)
    near = difflib.get_close_matches(value, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {enumeration(near, 'or')}?"
    if len(names) > _MOST_NAMES:
        first = enumeration(names[:_MOST_NAMES], "or")
        return f"give one of {first}, or of {len(names) - _MOST_NAMES} more"
    return f"give one of {enumeration(names, 'or')}"


def one_line(message: object) -> str:
    """The message with line breaks and repeated blanks as single blanks."""
    return " ".join(str(message).split())
