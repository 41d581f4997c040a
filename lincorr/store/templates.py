"""The templates of a store: the text of each is kept in several places, so that losing one loses nothing."""

from lincorr.errors import StoreDamaged
from lincorr.relations.relation import Template
from lincorr.store.hierarchy import Hierarchy

_PARTS = ("columns", "logits", "hidden")  # have the text of each


def stored_templates(hierarchy: Hierarchy) -> list[Template]:
    """Return the templates that have arrays in a store.

    Raises:
        StoreDamaged: nothing that has the text of one can be read.
    """
    names = sorted({name for part in _PARTS for name in hierarchy.names(part)})
    texts = ((name, stored_text(hierarchy, name)) for name in names)
    return [Template(name, text) for name, text in texts if text is not None]


def stored_text(hierarchy: Hierarchy, name: str) -> str | None:
    """Return the text of a template; None if it was never added whole.

    Raises:
        StoreDamaged: nothing that has it can be read.
    """
    damage = None
    for part in _PARTS:
        try:
            text = (hierarchy.attributes(f"{part}/{name}") or {}).get("text")
        except StoreDamaged as problem:
            damage = problem
            continue
        if isinstance(text, str):
            return text
    if damage is not None:
        raise damage
    return None
