"""Relations by their source prompts: who takes those of one prompt together decomposes the source once."""

from collections.abc import Iterable, Sequence

from pipeline.fit.inputs import FitInputs


def by_source(relations: Iterable[FitInputs]) -> list[list[FitInputs]]:
    """Group relations by their source prompts, in the order in which these appear."""
    groups: dict[str, list[FitInputs]] = {}
    for inputs in relations:
        groups.setdefault(inputs.source_template, []).append(inputs)
    return list(groups.values())


def dealt_out(relations: Sequence[FitInputs], workers: int) -> list[tuple[FitInputs, ...]]:
    """Cut relations into tasks, each of one source prompt; the largest come first.

    Args:
        workers: that take them; no task has more relations than an equal share of one.
    """
    share = -(-len(relations) // workers)
    groups = by_source(relations)
    tasks = [tuple(group[i : i + share]) for group in groups for i in range(0, len(group), share)]
    return sorted(tasks, key=len, reverse=True)
