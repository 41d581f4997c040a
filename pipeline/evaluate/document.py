"""Scores, settings and provenance as one document."""

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from pipeline.prepare.prepare import RelationInputs

_VERSIONS = ("lincorr", "torch", "transformers", "zarr", "numpy", "dask")


def title_of(relations: Sequence[RelationInputs]) -> str:
    """The relations by name, or how many they are where that would make no title."""
    names = [relation.name for relation in relations]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} relations"


def versions() -> dict[str, str]:
    """The versions of what computes; lincorr itself has none where it runs from a folder of sources."""
    found = {}
    for name in _VERSIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
