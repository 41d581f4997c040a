"""What a store remembers of a run: its task, and never a right.

A store may come from a stranger. Whether code is trusted, where anything is written, and which hosts and
devices are used, comes from the user's own file and flags.
"""

from collections.abc import Mapping
from typing import Any

TASK = (
    "model.source",
    "model.revision",
    "model.adapter",
    "model.dtype",
    "relations",
    "wordings",
    "catalogue",
    "source_answers",
    "target_answers",
    "multi_token",
    "subjects.kind",
    "subjects.count",
    "subjects.seed",
    "subjects.classes",
    "subjects.file",
    "subjects.compat",
    "subjects.split",
    "fit.rcond",
    "fit.method",
    "fit.penalty",
    "fit.memory",  # it decides the method, and so belongs to what a map was fitted from
)


def task_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a run's settings, in sections as a file has them, that describe its task."""
    kept: dict[str, Any] = {}
    for name in TASK:
        section, _, leaf = name.rpartition(".")
        values = settings.get(section) if section else settings
        if isinstance(values, Mapping) and leaf in values:
            (kept.setdefault(section, {}) if section else kept)[leaf] = values[leaf]
    return kept
