"""Score fitted maps on held-out subjects, with controls for what the scores are worth."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, to_host
from lincorr.errors import BadInput
from lincorr.scores.bootstrap import (
    LEVEL,
    REPLICATES,
    SAMPLED_OUTPUTS,
    mean_interval,
    replicated_pearson,
    row_counts,
)
from lincorr.scores.moments import CrossMoments, finite_mean
from lincorr.scores.ranks import spearman
from lincorr.scores.relation_scores import (
    ColumnScore,
    Coverage,
    FitScores,
    Interval,
    OtherRelation,
    PathPoint,
    RelationScores,
    SideFacts,
)
from lincorr.solvers.factored import Factored
from lincorr.solvers.result import Diagnosis, LinearMap, RidgePath
from lincorr.solvers.spectrum import Problem, coefficients
from lincorr.store.cached import cached
from lincorr.store.store import LogitStore
from pipeline.evaluate.controls import (
    OtherPrompt,
    OtherTargets,
    WithTargets,
    exchangeable,
    identity_r,
    mean_logit_r,
    other_prompt,
    shuffled_r,
    unrelated_pair,
)
from pipeline.evaluate.predictions import Floats, HeldOut
from pipeline.evaluate.reading import heatmap, hit_rates, hits_of_solution, hubs, strongest
from pipeline.fit.inputs import FIT_NAMES, FitInputs, Source, input_digest
from pipeline.fit.problem import held_out_moments, set_up
from pipeline.fit.sources import SourceCache
from pipeline.prepare.prepare import RelationInputs

_LABELS = {
    "domain": "domain columns, least squares",
    "domain-ridge": "domain columns, ridge",
    "vocabulary": "full vocabulary, least squares",
    "vocabulary-ridge": "full vocabulary, ridge",
}


_FEW_ROWS = 100


_INTERPOLATES = 0.9  # a rank of this share of the rows: W follows their noise


@dataclass(frozen=True, slots=True)
class _Others:
    """What serves as controls from the other relations of a run (see `pipeline.evaluate.controls`)."""

    prompt: OtherPrompt | None
    pair: OtherPrompt | None


@dataclass(frozen=True)
class _Side:
    """One source's decomposed problem and held-out rows, shared by its maps."""

    store: LogitStore
    inputs: FitInputs
    source: Source
    others: _Others
    counts: NDArray[np.uint16]
    shared: SourceCache

    @cached_property
    def problem(self) -> Problem:
        return set_up(self.store, self.inputs, self.source, self.shared)

    @cached_property
    def exchangeable(self) -> WithTargets | None:
        return exchangeable(self.store, self.inputs, self.source, self.problem)

    @cached_property
    def moments(self) -> CrossMoments:
        return held_out_moments(self.store, self.inputs, self.source, self.problem)

    @cached_property
    def rows(self) -> HeldOut:
        return HeldOut.read(self.store, self.inputs, self.source)

    @cached_property
    def everything(self) -> Problem | None:
        """The same problem for every token as output, where there are hidden states."""
        if not isinstance(self.problem, Factored):
            return None
        tokens = np.arange(self.inputs.n_tokens)
        return self.problem.for_targets(self.shared.columns(tokens), tokens)

    @cached_property
    def mean_logit(self) -> float:
        return mean_logit_r(self.store, self.inputs, self.source)

    @cached_property
    def other_targets(self) -> OtherTargets | None:
        other = self.others.prompt
        return None if other is None else OtherTargets(self.store, other, self.source, self.problem)

    @cached_property
    def unrelated_targets(self) -> OtherTargets | None:
        other = self.others.pair
        return None if other is None else OtherTargets(self.store, other, self.source, self.problem)


def evaluate_relation(
    store: LogitStore,
    inputs: FitInputs,
    relations: Sequence[RelationInputs],
    token_texts: list[str],
    n_sources: int,
    shared: SourceCache | None = None,
) -> None:
    """Score every map of a relation and store the scores, unless they are there.

    Args:
        relations: of the run, of which some may serve as controls.
        token_texts: surface text of every token.
        n_sources: well-known sources to read out.
        shared: decomposed sources that other relations may use, too.

    Raises:
        StoreDamaged, BadInput: rows or maps are missing, damaged, or fitted for other settings.
    """
    name = inputs.relation.name
    for source in inputs.choices:
        _require_maps(store, inputs, source)
    for template in (inputs.source_template, inputs.target_template):
        store.shards.require_whole(template, inputs.test_rows)
    others = _Others(other_prompt(store, inputs, relations), unrelated_pair(inputs, relations))

    def compute() -> RelationScores:
        return _scores(store, inputs, others, token_texts, n_sources, shared or SourceCache(store))

    depends_on = _depends_on(store, inputs, others, n_sources)
    cached(store.maps, name, RelationScores, depends_on, compute)


def _require_maps(store: LogitStore, inputs: FitInputs, source: Source) -> None:
    name = inputs.relation.name
    for fit in inputs.fit_names(source):
        found = store.maps.inputs(name, fit)
        if found is None:
            raise BadInput(f"store: {store.url!r} has no map {name!r} / {fit!r}; run `lincorr fit` first")
        if found != input_digest(store, inputs, source):
            raise BadInput(
                f"store: the map {name!r} / {fit!r} in {store.url!r} was fitted to other "
                "subjects or settings than these; run `lincorr fit` first"
            )


def _depends_on(store: LogitStore, inputs: FitInputs, others: _Others, n_sources: int) -> list[Any]:
    """Return all that the scores depend on: the maps' inputs, held-out rows, ground truth, controls."""
    relation = inputs.relation
    templates = [inputs.source_template, inputs.target_template]
    rows = [inputs.test_rows]
    named = [other for other in (others.prompt, others.pair) if other is not None]
    for other in named:
        templates.append(other.inputs.target_template)
        rows.append(inputs.fit_rows)
    return [
        [(source, input_digest(store, inputs, source)) for source in inputs.choices],
        [store.shards.digest(template, part) for template in templates for part in rows],
        [part.tolist() for part in rows],
        list(relation.truth.items()),
        [asdict(_side(inputs, role)) for role in ("source", "target")],
        relation.relation.family,
        [[other.relation, other.inputs.relation.target.ids.tolist()] for other in named],
        templates,
        n_sources,
    ]


def _scores(
    store: LogitStore,
    inputs: FitInputs,
    others: _Others,
    token_texts: list[str],
    n_sources: int,
    shared: SourceCache,
) -> RelationScores:
    counts = row_counts(len(inputs.test_rows))
    sides = {source: _Side(store, inputs, source, others, counts, shared) for source in inputs.choices}
    names = [name for source in inputs.choices for name in inputs.fit_names(source)]
    head = shared.head() if any(choice.method == "factored" for choice in inputs.choices.values()) else None
    maps = {
        name: store.maps.load(inputs.relation.name, name, head=head) for name in FIT_NAMES if name in names
    }
    shown = list(inputs.relation.truth)[:n_sources] or inputs.relation.source.ids[:n_sources].tolist()
    reading = "vocabulary-ridge" if "vocabulary-ridge" in maps else "domain-ridge"
    read_out = {name: maps[name] for name in ("domain", reading) if name in maps}  # the paper's, and the best
    return RelationScores(
        name=inputs.relation.name,
        family=inputs.relation.relation.family,
        source=_side(inputs, "source"),
        target=_side(inputs, "target"),
        interval=Interval(of="mean r", level=LEVEL, replicates=REPLICATES, rows=len(inputs.test_rows)),
        other_prompt=_other(others.prompt),
        unrelated_pair=_other(others.pair),
        identity=identity_r(store, inputs),
        warnings=tuple(_warnings(inputs, maps)),
        fits=tuple(_score(sides[_source_of(name)], name, fitted) for name, fitted in maps.items()),
        strongest=tuple(strongest(read_out, inputs, token, token_texts) for token in shown),
        hubs={name: hubs(fitted, inputs, token_texts) for name, fitted in read_out.items()},
        heatmap=heatmap(reading, maps[reading], inputs, shown, token_texts),
    )


def _source_of(name: str) -> Source:
    return "vocabulary" if name.startswith("vocabulary") else "domain"


def _side(inputs: FitInputs, role: str) -> SideFacts:
    side = getattr(inputs.relation.relation, role)
    columns = getattr(inputs.relation, role)
    return SideFacts(
        template=side.template.name,
        text=side.template.text,
        columns=len(columns),
        answers=len(columns) + len(columns.dropped),
        dropped=len(columns.dropped),
        coverage=Coverage(**columns.coverage().as_counts()),
    )


def _other(other: OtherPrompt | None) -> OtherRelation | None:
    if other is None:
        return None
    template = other.inputs.relation.relation.target.template
    return OtherRelation(other.relation, template.name, template.text)


def _warnings(inputs: FitInputs, maps: dict[str, LinearMap]) -> list[str]:
    """Return one sentence for each reason not to trust the scores."""
    found = []
    if len(inputs.test_rows) < _FEW_ROWS:
        found.append(
            f"only {len(inputs.test_rows)} subjects are held out: every score is rough; give more subjects"
        )
    found += [
        f"{name}: {words}" for name, fitted in maps.items() if (words := _interpolates(fitted.diagnosis))
    ]
    return found


def _interpolates(diagnosis: Diagnosis) -> str | None:
    rank, rows = diagnosis.cut.rank, diagnosis.n_rows
    if diagnosis.penalty > 0 or rank < _INTERPOLATES * (rows - 1):
        return None
    return (
        f"{rows:,} subjects are fitted with {rank:,} free directions and no ridge, so that W follows "
        "their noise; read the ridge fit, or give more subjects"
    )


def _score(side: _Side, name: str, fitted: LinearMap) -> FitScores:
    diagnosis = fitted.diagnosis
    solution = coefficients(side.problem, diagnosis.root_penalty)
    correlation = side.problem.score(solution, side.moments)
    r, cut = to_host(correlation.pearson()), diagnosis.cut
    rho, low, high = _of_predictions(side, fitted)
    columns = zip(side.inputs.relation.target.texts, r, rho, strict=True)
    return FitScores(
        name=name,
        label=_LABELS[name],
        source_columns=len(fitted.source_ids),
        target_columns=len(fitted.target_ids),
        method=diagnosis.method,
        reason=diagnosis.reason,
        root_penalty=diagnosis.root_penalty,
        penalty=diagnosis.penalty,
        rank=cut.rank,
        sigma_1=cut.sigma_1,
        sigma_r=cut.sigma_r,
        sigma_next=cut.sigma_next or None,
        noise_floor=cut.noise_floor,
        identified=diagnosis.warning() is None,
        normal_residual=diagnosis.normal_residual,
        min_norm_residual=diagnosis.min_norm_residual,
        r=finite_mean(r),
        r_std=float(np.nanstd(r)) if not np.isnan(r).all() else math.nan,
        r_low=low,
        r_high=high,
        r2=finite_mean(correlation.r2()),
        spearman=finite_mean(rho),
        **_all_outputs(side, fitted, solution),
        **_controls(side, diagnosis.root_penalty),
        r_by_target=tuple(ColumnScore(text, float(of_r), float(of_rho)) for text, of_r, of_rho in columns),
        hits=hit_rates(fitted, side.inputs),
        path=tuple(_path(side, fitted)),
    )


def _of_predictions(side: _Side, fitted: LinearMap) -> tuple[Floats, float, float]:
    """Return what moments cannot give: rho of each answer's column, and the interval of the mean r."""
    rho, replicated = [], []
    for predicted, true in side.rows.answers(fitted):
        rho.append(spearman(predicted, true))
        replicated.append(replicated_pearson(predicted, true, side.counts))
    return np.concatenate(rho), *mean_interval(np.concatenate(replicated, axis=1))


def _all_outputs(side: _Side, fitted: LinearMap, solution: Array) -> dict[str, Any]:
    """Return the mean r over every token of the vocabulary as output, and rho over a fixed sample of them."""
    if side.everything is None:
        return {"r_all": None, "spearman_sample": None, "sampled_outputs": None}
    tokens = side.inputs.n_tokens
    size = min(SAMPLED_OUTPUTS, tokens)
    sample = np.sort(np.random.default_rng(0).choice(tokens, size=size, replace=False))
    rho = [spearman(predicted, true) for predicted, true in side.rows.outputs(fitted, sample)]
    return {
        "r_all": finite_mean(side.everything.score(solution, side.moments).pearson()),
        "spearman_sample": finite_mean(np.concatenate(rho)),
        "sampled_outputs": size,
    }


def _controls(side: _Side, root_penalty: float) -> dict[str, Any]:
    """Return what r a map of this penalty reaches without the relation (see `pipeline.evaluate.controls`)."""
    problem = side.exchangeable
    shuffled, shuffled_std, after_other, unrelated = math.nan, math.nan, None, None
    if problem is not None:
        shuffled, shuffled_std = shuffled_r(problem, root_penalty, side.moments)
        if side.other_targets is not None:
            after_other = side.other_targets.r(problem, root_penalty)
        if side.unrelated_targets is not None:
            unrelated = side.unrelated_targets.r(problem, root_penalty)
    return {
        "r_shuffled": shuffled,
        "r_shuffled_std": shuffled_std,
        "r_mean_logit": side.mean_logit,
        "r_other_prompt": after_other,
        "r_unrelated": unrelated,
    }


def _path(side: _Side, fitted: LinearMap) -> Iterator[PathPoint]:
    """Follow the ridge path that chose a map's penalty on held-out rows and ground truth."""
    path = fitted.diagnosis.path
    if path is None:
        return
    for point in path.points:
        solution = coefficients(side.problem, point.root_penalty)
        at = hits_of_solution(side.problem, solution, fitted, side.inputs)
        yield PathPoint(
            root_penalty=point.root_penalty,
            loo_r=point.score,
            r=finite_mean(side.problem.score(solution, side.moments).pearson()),
            hit1=at.get(1),
            hit5=at.get(5),
            chosen=_chosen(path, point.root_penalty),
        )


def _chosen(path: RidgePath, root_penalty: float) -> str | None:
    if root_penalty == path.reading:
        return "reading"
    return "best" if root_penalty == path.best else None
