"""One relation in many wordings: ``NAME.2`` (the second of both sides), ``NAME.2-3`` (second and third)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lincorr.relations.reading import DeclaredRelation
from lincorr.relations.relation import Template

Further = Mapping[str, Sequence[Template]]


def in_wordings(first: DeclaredRelation, further: Further) -> list[DeclaredRelation]:
    """The relation in its first wording, then ``NAME.2``, ``NAME.3``: the n-th of source and target.

    A side that has no n-th wording stays in its first. No two have both prompts in common.

    Args:
        further: template name -> its further wordings.
    """
    return list(_numbered(first, further).values())


def in_mixed_wordings(first: DeclaredRelation, further: Further) -> list[DeclaredRelation]:
    """The relation in every wording of its source with every wording of its target, sources slowest.

    The i-th with the j-th is ``NAME.i-j``, unless `in_wordings` has these two prompts as ``NAME.n``.

    Args:
        further: template name -> its further wordings.
    """
    numbered = _numbered(first, further)
    sources, targets = _wordings(first.source.template, further), _wordings(first.target.template, further)
    return [
        numbered.get((i, j)) or _asked(first, f"{first.name}.{i}-{j}", source, target)
        for i, source in enumerate(sources, 1)
        for j, target in enumerate(targets, 1)
    ]


def spelled(first: DeclaredRelation, further: Further) -> dict[str, DeclaredRelation]:
    """The relation in all its wordings, by every name it answers to: ``NAME.2`` also to ``NAME.2-2``.

    Args:
        further: template name -> its further wordings.
    """
    names = {one.name: one for one in in_wordings(first, further)}
    n_targets = len(_wordings(first.target.template, further))
    for place, one in enumerate(in_mixed_wordings(first, further)):
        names[f"{first.name}.{place // n_targets + 1}-{place % n_targets + 1}"] = one
    return names


def _numbered(first: DeclaredRelation, further: Further) -> dict[tuple[int, int], DeclaredRelation]:
    """(wording of the source, of the target), from 1 -> the relation with one number for both."""
    sources, targets = _wordings(first.source.template, further), _wordings(first.target.template, further)
    found = {(1, 1): first}
    for n in range(2, max(len(sources), len(targets)) + 1):
        i, j = n if n <= len(sources) else 1, n if n <= len(targets) else 1
        found[i, j] = _asked(first, f"{first.name}.{n}", sources[i - 1], targets[j - 1])
    return found


def _wordings(template: Template, further: Further) -> tuple[Template, ...]:
    return (template, *further.get(template.name, ()))


def _asked(first: DeclaredRelation, name: str, source: Template, target: Template) -> DeclaredRelation:
    return replace(
        first,
        name=name,
        source=replace(first.source, template=source),
        target=replace(first.target, template=target),
    )
