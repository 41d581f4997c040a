"""Files that a hand, a disk or a stranger has changed: JSON at any place, and bytes."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

TEXTS = ("", " ", "x", "\x00", "\x1b[2J", "../x", "/dev/null", "a" * 300, "é\u2028{}", "{}", "\ud800", "=1")
NUMBERS = (-1, 0, 1, 7, 300, 10**6, 2**63, 10**30, 0.5, -0.0, 1e300)
SCALARS: list[Any] = [None, True, False, *NUMBERS, *TEXTS]

values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def changed_json(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three values replaced or deleted."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            return draw(values)
        holder, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            holder[key] = draw(values)
        else:
            del holder[key]
    return document


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document but those of long lists: its holder, and its key there."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs)[:40]:
        yield node, key
        yield from _places(value)


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The content cut, with bytes replaced, or other bytes."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "other"]))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "cut":
        return content[:at]
    if kind == "other":
        return draw(st.binary(max_size=40))
    new = draw(st.binary(min_size=1, max_size=4))
    return content[:at] + new + content[at + (len(new) if kind == "flip" else 0) :]


@st.composite
def changed_file(draw: st.DrawFn, path: Path) -> bytes | None:
    """What becomes of a file; None: it is deleted."""
    content = path.read_bytes()
    if path.suffix == ".json" and draw(st.booleans()):
        return json.dumps(draw(changed_json(json.loads(content)))).encode()
    return draw(st.none() | changed_bytes(content))
