"""A study: many relations of one model in one pass; families, matrices, growth, the paper's figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lincorr.scores.experiments import EditScores, GradientScores
from lincorr.scores.relation_scores import RelationScores
from lincorr.scores.results import Results
from lincorr.scores.study import Growth, GrowthPoint, Matrix, OperatorGroup, StateSpectrum, Study
from lincorr.store.store import LogitStore
from pipeline.evaluate.experiments import stored_edits, stored_gradients
from pipeline.evaluate.generalisation import across_relations
from pipeline.fit.inputs import has_maps
from pipeline.fit.sources import SourceCache
from pipeline.plan.memory import fit_memory
from pipeline.run import Run
from pipeline.study.families import (
    beside_paper,
    family_summary,
    first_wording,
    growth_by_family,
    paraphrases_of,
)
from pipeline.study.growth import COUNTS, growth_of, steps
from pipeline.study.matrix import as_relations, family_matrix, prompts_of
from pipeline.study.operators import groups_of, operators_of
from pipeline.study.spectrum import NO_STATES, spectrum_of


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What a study shows besides the scores of its relations.

    Attributes:
        growth: relations to follow along the number of subjects; None is all of them.
        compare: whether to compare the paper's figures with those of the study.
    """

    growth: Sequence[str] | None = None
    compare: bool = False


def study(run: Run, options: StudyOptions) -> Results:
    """Do everything of a study that is not yet done; return its results.

    Raises:
        BadInput: a setting cannot be met; nothing was changed then.
        LincorrError: a part failed; what was done is stored, and the same study resumes from there.
    """
    plan = run.plan()
    with run.writing():  # from one verb to the next, too
        run.extract(plan)
        run.fit()
        results = run.evaluate()
        store = run.store(write=True)
        shared = run.source_cache(store, list(run.fit_inputs(store)))
        with run.timed("matrices"):
            matrices = _matrices(run, store, shared)
        with run.timed("growth"):
            grown = _growth(run, store, shared, options.growth)
        with run.timed("operators"):
            operators = _operators(run, store, shared)
        with run.timed("spectrum"):
            spectrum = _spectrum(run, store)
    names = [relation.name for relation in results.relations]
    stored = stored_edits(store, names), stored_gradients(store, names)
    found = study_of(results.relations, matrices, grown, *stored, compare=options.compare)
    found = replace(
        found,
        operators=tuple(operators) or None,
        spectrum=spectrum,
        no_spectrum=NO_STATES if spectrum is None else None,
    )
    return replace(results, seconds=dict(run.seconds), study=found)


def study_of(
    relations: Sequence[RelationScores],
    matrices: Sequence[Matrix] = (),
    growth: Sequence[Growth] = (),
    edited: Sequence[EditScores] = (),
    gradients: Sequence[GradientScores] = (),
    *,
    compare: bool = False,
) -> Study:
    """Gather what a study adds to the results.

    Further wordings of a relation count once for its family: as `paraphrases` of the first.

    Args:
        relations: scores of every relation.
        edited: of the relations that were edited.
        gradients: gradient correlations, of the relations that have them.
        compare: whether to compare the paper's figures with ours.
    """
    names = [relation.name for relation in relations]
    first = [relation for relation in relations if first_wording(relation.name, names) == relation.name]
    families = list(dict.fromkeys(relation.family for relation in first))
    firsts = {relation.name for relation in first}
    edited = [edits for edits in edited if edits.relation in firsts]
    points: Mapping[str, Sequence[GrowthPoint]] = {one.relation: one.points for one in growth}
    return Study(
        families=tuple(
            family_summary(family, [r for r in first if r.family == family]) for family in families
        ),
        paraphrases=tuple(paraphrases_of(relations)),
        matrices=tuple(matrices),
        growth=tuple(growth),
        growth_by_family=tuple(growth_by_family(first, points)),
        paper=tuple(beside_paper(relations, gradients)) if compare else None,
        generalisation=across_relations(edited, first) if edited else None,
    )


# --- parts ---------------------------------------------------------------------------------------------


def _matrices(run: Run, store: LogitStore, shared: SourceCache) -> list[Matrix]:
    read = run.read(store)
    names = [relation.name for relation in read]
    families = prompts_of(r for r in read if first_wording(r.name, names) == r.name)
    found: list[Matrix] = []
    total = sum(map(len, families.values()))
    with run.narrator.progress("Every prompt to every other", total, "sources") as advance:
        for family, prompts in families.items():
            sources = list(run.fit_inputs(store, as_relations(family, prompts)))
            found += family_matrix(store, family, sources, shared, advance)
    return found


def _growth(run: Run, store: LogitStore, shared: SourceCache, names: Sequence[str] | None) -> list[Growth]:
    asked = [one for one in run.fit_inputs(store) if names is None or one.relation.name in names]
    taken = steps(store.rows_of(run.inputs.subjects), run.split()[0], COUNTS)
    with run.narrator.progress("More and more subjects", len(asked), "relations") as advance:
        found = growth_of(store, asked, taken, shared, advance)
    return [found[relation.name] for relation in run.read(store) if relation.name in found]


def _operators(run: Run, store: LogitStore, shared: SourceCache) -> list[OperatorGroup]:
    """Exchange the maps of every relation that has some, also of wordings that are not read."""
    every = run.inputs.relations
    by_name = {one.relation.name: one for one in run.fit_inputs(store, every)}
    inputs = [by_name[relation.name] for relation in every]
    groups = groups_of([one for one in inputs if has_maps(store, one, one.read_fits)])
    found = []
    with run.narrator.progress("Every map on the others' rows", len(groups), "groups") as advance:
        for group in groups:
            found.append(operators_of(store, group, shared))
            advance(1)
    return [one for one in found if one is not None]


def _spectrum(run: Run, store: LogitStore) -> StateSpectrum | None:
    rows = np.unique(store.rows_of(run.inputs.subjects))
    return spectrum_of(
        store, list(run.inputs.templates), rows, fit_memory(run.config.fit, run.config.cluster)
    )
