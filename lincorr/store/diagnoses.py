"""The diagnosis of a map, among the attributes that are written last and make a map of its arrays."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lincorr.scores.documents import to_json
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, PathPoint, RidgePath
from lincorr.store.seal import seal


def sealed(diagnosis: Diagnosis, inputs: str) -> dict[str, Any]:
    """Return the attributes of a map: its diagnosis with a seal, and the digest of all that went into it."""
    stored = to_json(asdict(diagnosis))
    return {"diagnosis": stored, "seal": seal(stored), "inputs": inputs}


def unsealed(attributes: Mapping[str, Any]) -> Diagnosis:
    """Return the diagnosis among the attributes of a map.

    Raises:
        ValueError, LookupError, TypeError: it is not what was written.
    """
    stored = attributes["diagnosis"]
    if attributes.get("seal") not in (None, seal(stored)):
        raise ValueError("its diagnosis was changed")
    path = stored["path"]
    known: dict[str, Any] = {name: float("nan") if v is None else v for name, v in stored.items()}
    known |= {"cut": Cut(**stored["cut"]), "path": None if path is None else _path(path)}
    return Diagnosis(**known)


def _path(stored: Mapping[str, Any]) -> RidgePath:
    nan = float("nan")
    points = tuple(
        PathPoint(point["root_penalty"], nan if point["score"] is None else point["score"])
        for point in stored["points"]
    )
    return RidgePath(points, stored["best"], stored["reading"])
