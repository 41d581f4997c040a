"""The results of a run as types: settings, provenance, and the scores of its relations."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lincorr.errors import BadInput
from lincorr.scores.audit import Audit
from lincorr.scores.documents import from_document, key
from lincorr.scores.relation_scores import RelationScores
from lincorr.scores.study import Study
from lincorr.scores.wordings import Wordings


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model and how it was run."""

    name: str
    source: str
    revision: str | None
    fingerprint: str
    dtype: str
    device: str
    head: str


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """The subjects of a run.

    Attributes:
        kind: the setting subjects.from.
        count, fit, test: all, and those that were fitted and held out.
        classes, left_out: how many of each class were drawn, and were not eligible.
    """

    kind: str = field(metadata=key("from"))
    count: int
    fit: int
    test: int
    split: str
    seed: int
    classes: Mapping[str, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Results:
    """The results document of a run or of a study.

    Attributes:
        created: ISO 8601 time in UTC.
        versions: of the packages that compute.
        store: its location.
        seconds: of each stage.
        idle: share of extraction in which the device did not compute; None where nothing was extracted.
        notes: what to know about the subjects.
        audit: of the logits in the store; None where nobody looked.
        study: what a study adds.
        wordings: the relations that were fitted in several.
    """

    title: str
    created: str
    versions: Mapping[str, str]
    machine: str
    model: ModelFacts
    store: str
    seconds: Mapping[str, float]
    idle: float | None = field(metadata=key("device_waited"))
    subjects: SubjectFacts
    notes: tuple[str, ...]
    relations: tuple[RelationScores, ...]
    audit: Audit | None = None
    study: Study | None = None
    wordings: tuple[Wordings, ...] | None = None


def read_results(path: Path) -> Results:
    """Return the results in a report.json.

    Raises:
        BadInput: it is no JSON, or another version of lincorr wrote it.
    """
    remedy = "run `lincorr report` (or `lincorr study`) again"
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise BadInput(f"results: {str(path)!r} cannot be read ({problem}); {remedy}") from problem
    return from_document(Results, document, f"results: {str(path)!r}", remedy)
