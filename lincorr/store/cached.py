"""Results that a store caches: computed where they are missing, or what they depend on has changed."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lincorr.scores.documents import SCHEMA
from lincorr.store.maps import MapStore

T = TypeVar("T")


def cached(maps: MapStore, name: str, kind: type[T], depends_on: Any, compute: Callable[[], T]) -> T:
    """Return the stored result of a name, computed and stored first where that is necessary.

    Args:
        kind: dataclass of the result.
        depends_on: JSON values of all that the result depends on; the schema version is added.
    """
    return cached_group(maps, kind, {name: depends_on}, lambda _: {name: compute()})[name]


def cached_group(
    maps: MapStore,
    kind: type[T],
    depends_on: Mapping[str, Any],
    compute: Callable[[Sequence[str]], Mapping[str, T]],
) -> dict[str, T]:
    """Return the stored results of several names, the missing ones computed together.

    Args:
        depends_on: of each name, as for `cached`.
        compute: called with the names whose results are missing or outdated, if there are any.

    Raises:
        LincorrError: another run has begun to write.
    """
    digests = {name: _digest(values) for name, values in depends_on.items()}
    missing = [name for name, digest in digests.items() if maps.score_inputs(name) != digest]
    if missing:
        maps.turn.require()  # before what may take hours, not only after it
        for name, result in compute(missing).items():
            maps.save_scores(name, result, digests[name])
    return {name: maps.load_scores(name, kind) for name in digests}


def is_cached(maps: MapStore, name: str, depends_on: Any) -> bool:
    """Whether the stored result of a name is there and depends on these values (see `cached`)."""
    return maps.score_inputs(name) == _digest(depends_on)


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps([SCHEMA, values]).encode()).hexdigest()
