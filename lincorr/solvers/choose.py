"""Sizes -> a method and the sentence that says why."""

from dataclasses import dataclass

from lincorr.errors import BadInput

_DIRECT_FLOPS = 5e11  # a minute or so on two cores


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, and the reason in words."""

    method: str
    reason: str


def choose(
    n_rows: int, n_source: int, n_target: int, *, width: int, hidden: bool, memory_bytes: int
) -> Choice:
    """Choose how to solve a problem of n_rows subjects, n_source and n_target columns.

    Args:
        width: d of the model.
        hidden: whether hidden states of a linear head are at hand.
        memory_bytes: what a solver may use.

    Raises:
        BadInput: no method fits.
    """
    size = f"{n_rows:,} x {n_source:,} -> {n_target:,}"
    if hidden and n_source > width:
        return Choice(
            "factored",
            f"{size}: more source columns than the model is wide ({width:,}), so exactly through "
            "hidden states",
        )
    needed = 8 * (n_rows * (n_source + n_target) + 4 * min(n_rows, n_source) ** 2)
    flops = float(n_rows) * n_source * min(n_rows, n_source)
    if needed <= memory_bytes / 2 and flops <= _DIRECT_FLOPS:
        return Choice("direct", f"{size}: small enough for one decomposition in float64")
    raise BadInput(
        f"fit: {size} needs {needed / 2**30:.1f} GiB and {flops:.1g} operations without hidden "
        "states; extract into a store with store.hidden, or give fewer answers"
    )
