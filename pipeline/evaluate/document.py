"""Scores, settings and provenance together: the results of a run."""

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from lincorr.model.files import model_name
from lincorr.scores.relation_scores import RelationScores
from lincorr.scores.results import ModelFacts, Results, SubjectFacts
from lincorr.scores.wordings import Wordings
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.pooled import with_pooled
from pipeline.fit.inputs import Split
from pipeline.prepare.prepare import Inputs
from pipeline.prepare.relations import RelationInputs
from pipeline.runtime.machine import cores

_VERSIONS = ("lincorr", "torch", "transformers", "zarr", "numpy", "dask")


def results_of(
    config: RunConfig,
    inputs: Inputs,
    store: LogitStore,
    relations: Sequence[RelationInputs],
    wordings: Sequence[Wordings],
    split: Split,
    seconds: Mapping[str, float],
    idle: float | None,
) -> Results:
    """Return the stored scores of a run with its settings and provenance.

    Args:
        relations: those that are read.
        wordings: of every relation that was fitted in several.
        split: positions of the subjects that were fitted and held out.
        seconds: of each stage.
        idle: share of extraction in which the device did not compute; None where nothing was extracted.
    """
    identity, subjects = store.identity, inputs.subjects
    return Results(
        title=f"{_title(relations)} on {model_name(identity.source)}",
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions=_versions(),
        machine=f"{cores()} cores, {platform.machine()}, {platform.system()}",
        model=ModelFacts(
            name=model_name(identity.source),
            source=identity.source,
            revision=identity.revision,
            fingerprint=inputs.fingerprint.short,
            dtype=identity.compute,
            device=store.device or config.model.device,
            head=identity.head,
        ),
        store=store.url,
        seconds=dict(seconds),
        idle=idle,
        subjects=SubjectFacts(
            kind=config.subjects.kind,
            count=len(subjects),
            fit=len(split[0]),
            test=len(split[1]),
            split=config.subjects.split,
            seed=config.subjects.seed,
            classes=subjects.class_counts(),
            left_out=subjects.left_out,
        ),
        notes=tuple(inputs.notes),
        audit=store.audit(),
        relations=tuple(store.maps.load_scores(relation.name, RelationScores) for relation in relations),
        wordings=with_pooled(store, inputs.relations, wordings) or None,
    )


def _title(relations: Sequence[RelationInputs]) -> str:
    """The relations by name, or how many they are where that would make no title."""
    names = [relation.name for relation in relations]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} relations"


def _versions() -> dict[str, str]:
    """The versions of what computes; lincorr itself has none where it runs from a folder of sources."""
    found = {}
    for name in _VERSIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
