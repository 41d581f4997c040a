"""A study: many relations of one model in one pass; families, matrices, growth, the paper's figures.

`study_of` carries a run through its verbs and adds to its document the key ``study``: JSON values that
`pipeline.report.pages` draws and `pipeline.report.tables` writes as tables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import ALL, EVERY_WORDING
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.experiments.generalisation import across_relations, kept_edits
from pipeline.experiments.gradients import kept_gradients
from pipeline.fit.sources import Decompositions
from pipeline.run import Run
from pipeline.runtime.lock import sole_writer
from pipeline.study.families import (
    Json,
    beside_paper,
    family_summary,
    first_wording,
    growth_by_family,
    paraphrases_of,
)
from pipeline.study.growth import COUNTS, growth_of, steps
from pipeline.study.matrix import as_relations, family_matrix, prompts_of


def chosen_relations(config: RunConfig, *, paraphrases: bool = False) -> RunConfig:
    """Return the settings of a study: of all relations, where none is named.

    Args:
        paraphrases: each relation in its further wordings, too.

    Raises:
        BadInput: a relation or family is unknown.
    """
    if "relations" not in config.model_fields_set:
        config = config.model_copy(update={"relations": (ALL,)})
    if not paraphrases:
        return config
    names = load_catalogue(config.catalogue).select(config.relations)
    return config.model_copy(update={"relations": tuple(f"{name}{EVERY_WORDING}" for name in names)})


def study_of(job: Run, *, growth: Sequence[str] | None = None, compare: bool = False) -> dict[str, Any]:
    """Do everything of a study that is not yet done; return its document.

    Args:
        growth: relations to follow along the number of subjects; None is all of them.
        compare: set the paper's figures beside those of the study.

    Raises:
        BadInput: a setting cannot be met; nothing was changed then.
        LincorrError: a part failed; what was done is kept, and the same study goes on from there.
    """
    job.extract()
    job.fit()
    document = job.evaluate()
    store = job.store(write=True)
    with sole_writer(store.url, or_read=True):
        shared = job.decompositions(store, list(job.fit_inputs(store)))
        with job.timed("matrices"):
            matrices = _matrices(job, store, shared)
        with job.timed("growth"):
            grown = _growth(job, store, shared, growth)
    names = names_of(job)
    kept = kept_edits(store, names), kept_gradients(store, names)
    study = study_document(document["relations"], matrices, grown, *kept, compare=compare)
    return document | {"seconds": job.seconds, "study": study}


def study_document(
    relations: Sequence[Json],
    matrices: Sequence[Json] = (),
    growth: Mapping[str, Sequence[Json]] | None = None,
    edited: Sequence[Json] = (),
    gradients: Sequence[Json] = (),
    *,
    compare: bool = False,
) -> dict[str, Any]:
    """Gather what a study adds to a document, as JSON values.

    Further wordings of a relation count once for its family: as `paraphrases` of the first.

    Args:
        relations: scores of every relation.
        matrices: of `pipeline.study.matrix`.
        growth: of `pipeline.study.growth`.
        edited: what edits showed, of the relations that were edited.
        gradients: gradient correlations, of the relations that have them.
        compare: whether to set the paper's figures beside.
    """
    names = [relation["name"] for relation in relations]
    first = [relation for relation in relations if first_wording(relation["name"], names) == relation["name"]]
    families = list(dict.fromkeys(relation["family"] for relation in first))
    firsts = {relation["name"] for relation in first}
    return {
        "families": [
            family_summary(family, [r for r in first if r["family"] == family]) for family in families
        ],
        "paraphrases": paraphrases_of(relations),
        "matrices": list(matrices),
        "growth": [{"relation": name, "points": list(points)} for name, points in (growth or {}).items()],
        "growth_by_family": growth_by_family(first, growth or {}),
        "paper": beside_paper(relations, gradients) if compare else None,
        "generalisation": _generalisation([e for e in edited if e["relation"] in firsts], first),
    }


def _generalisation(edited: Sequence[Json], scores: Sequence[Json]) -> dict[str, Any] | None:
    return across_relations(edited, scores) if edited else None


def names_of(job: Run) -> list[str]:
    """Return the relations of a run, in order: those of its settings that the model has answers of."""
    return [relation.name for relation in job.inputs.relations]


# --- parts ---------------------------------------------------------------------------------------------


def _matrices(job: Run, store: LogitStore, shared: Decompositions) -> list[dict[str, Any]]:
    names = names_of(job)
    families = prompts_of(r for r in job.inputs.relations if first_wording(r.name, names) == r.name)
    found: list[dict[str, Any]] = []
    total = sum(map(len, families.values()))
    with job.narrator.progress("Every prompt to every other", total, "sources") as advance:
        for family, prompts in families.items():
            sources = list(job.fit_inputs(store, as_relations(family, prompts)))
            found += family_matrix(store, family, sources, shared, advance)
    return found


def _growth(
    job: Run, store: LogitStore, shared: Decompositions, names: Sequence[str] | None
) -> dict[str, list[dict[str, Any]]]:
    asked = [one for one in job.fit_inputs(store) if names is None or one.relation.name in names]
    taken = steps(store.rows_of(job.inputs.subjects), job.split()[0], COUNTS)
    with job.narrator.progress("More and more subjects", len(asked), "relations") as advance:
        found = growth_of(store, asked, taken, shared, advance)
    return {name: found[name] for name in names_of(job) if name in found}
