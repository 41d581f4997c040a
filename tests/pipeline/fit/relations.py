"""A planted relation, prepared for a fit."""

from typing import Any

import numpy as np

from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from lincorr.solvers.choose import Choice, choose
from pipeline.prepare.relations import RelationInputs


def columns(count: int) -> Columns:
    texts = tuple(f" {i}" for i in range(count))
    return Columns(np.arange(count), texts, texts, (True,) * count, {})


def planted_relation(p: int, q: int) -> RelationInputs:
    """The relation `toy` between the templates of `planted_store`."""
    source, target = (Side(Template(name, f"{{}} {name}"), ()) for name in ("source", "target"))
    return RelationInputs(Relation("toy", "test", source, target, ()), columns(p), columns(q), {})


def chosen(method: str, n: int, p: int, q: int, width: int) -> Choice:
    """A method, asked for by name."""
    asked: Any = method
    return choose(n, p, q, width=width, hidden=False, memory_bytes=10**9, method=asked)
