"""Names in a ground truth that are not among the answers, often misspelt; their pairs are ignored."""

from collections.abc import Iterable

from lincorr.prompts.words import match_typo, match_word
from lincorr.relations.relation import Pairs

_MOST = 8


def unknown_names(truth: Pairs, sources: Iterable[str], targets: Iterable[str]) -> dict[str, str | None]:
    """Return each name of the truth that is not an answer on its side, and the answer it may be a typo of."""
    found: dict[str, str | None] = {}
    for answers, names in ((tuple(sources), [s for s, _ in truth]), (tuple(targets), [t for _, t in truth])):
        known = set(answers)
        for name in names:
            if name not in known and name not in found:
                near = match_word(name, answers) or match_typo(name, answers)
                found[name] = near.text if near else None
    return found


def truth_note(relation: str, unknown: dict[str, str | None]) -> str:
    """Return a sentence that lists the first eight of them."""
    shown = [repr(name) + (f" ({near!r}?)" if near else "") for name, near in list(unknown.items())[:_MOST]]
    more = f" and {len(unknown) - _MOST:,} more" if len(unknown) > _MOST else ""
    one, many = "name of the truth is no answer and is", "names of the truth are no answers and are"
    what = many if len(unknown) > 1 else one
    return f"Relation {relation!r}: {len(unknown):,} {what} ignored: {', '.join(shown)}{more}."
