"""Score one map on held-out subjects, with controls for what its r is worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lincorr.arrays import to_host
from lincorr.scores.bootstrap import SAMPLED_OUTPUTS, ReplicatedTruth, mean_interval, row_counts
from lincorr.scores.faithfulness import BothAnswers, Faithfulness, agreement
from lincorr.scores.moments import deviation, finite_mean
from lincorr.scores.ranks import RankedTruth
from lincorr.scores.relation_scores import ColumnScore, FitScores, PathPoint
from lincorr.solvers.result import LinearMap, RidgePath
from lincorr.solvers.spectrum import coefficients
from pipeline.evaluate.basis import EvaluatedBasis
from pipeline.evaluate.predictions import Floats
from pipeline.evaluate.reading import KnownSources, hit_rates

SAMPLED_SUBJECTS = 512  # whose answers among all tokens are compared: all of 25,000 would take minutes

_LABELS = {
    "domain": "domain columns, least squares",
    "domain-ridge": "domain columns, ridge",
    "vocabulary": "full vocabulary, least squares",
    "vocabulary-ridge": "full vocabulary, ridge",
}


def score_fits(basis: EvaluatedBasis, maps: Mapping[str, LinearMap]) -> list[FitScores]:
    """Score the maps of one basis by name, and their controls, on held-out rows.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    fitted = list(maps.values())
    found = zip(maps.items(), _of_predictions(basis, fitted), _of_sampled(basis, fitted), strict=True)
    return [_score_fit(basis, name, one, answers, sampled) for (name, one), answers, sampled in found]


def _score_fit(
    basis: EvaluatedBasis, name: str, fitted: LinearMap, answers: "_OfAnswers", sampled: "_OfSampled | None"
) -> FitScores:
    diagnosis = fitted.diagnosis
    solution = coefficients(basis.problem, diagnosis.root_penalty)
    correlation = basis.problem.score(solution, basis.moments)
    r, cut = to_host(correlation.pearson()), diagnosis.cut
    rho, low, high, faithful = answers
    hits, as_fitted = hit_rates(fitted, basis.inputs)
    columns = zip(basis.inputs.relation.target.texts, r, rho, strict=True)
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
        r_std=deviation(r),
        r_low=low,
        r_high=high,
        r2=finite_mean(correlation.r2()),
        spearman=finite_mean(rho),
        **_all_outputs(sampled),
        **_controls(basis, diagnosis.root_penalty),
        r_by_target=tuple(ColumnScore(text, float(of_r), float(of_rho)) for text, of_r, of_rho in columns),
        hits=hits,
        faithfulness=faithful,
        hits_as_fitted=as_fitted,
        path=tuple(_path(basis, fitted)),
    )


class _OfAnswers(NamedTuple):
    """What moments cannot give: rho of each answer, the interval of the mean r, and faithfulness."""

    rho: Floats
    low: float
    high: float
    faithful: Faithfulness


def _of_predictions(basis: EvaluatedBasis, maps: Sequence[LinearMap]) -> list[_OfAnswers]:
    """Score the predictions of all maps, a panel of answers at a time; truths are ranked once for all."""
    rho: list[list[Floats]] = [[] for _ in maps]
    replicated: list[list[Floats]] = [[] for _ in maps]
    answers = [BothAnswers() for _ in maps]
    for true, predictions in basis.rows.answers(maps):
        ranked, drawn = RankedTruth.of(true), ReplicatedTruth.of(true, basis.counts)
        for i, predicted in enumerate(predictions):
            rho[i].append(to_host(ranked.spearman(predicted)))
            replicated[i].append(to_host(drawn.pearson(predicted)))
            answers[i].add(predicted, true)
    return [
        _OfAnswers(np.concatenate(one), *mean_interval(np.concatenate(r, axis=1)), both.score(basis.counts))
        for one, r, both in zip(rho, replicated, answers, strict=True)
    ]


class _OfSampled(NamedTuple):
    """Scores with every token as output: r, rho of some outputs, and faithfulness to some subjects."""

    r: float
    outputs: int
    spearman: float
    faithful: Faithfulness


def _of_sampled(basis: EvaluatedBasis, maps: Sequence[LinearMap]) -> Sequence[_OfSampled | None]:
    """Score all outputs and fixed samples; None for each map where not every token can be an output."""
    if basis.everything is None:
        return [None for _ in maps]
    tokens = basis.inputs.n_tokens
    size = min(SAMPLED_OUTPUTS, tokens)
    sample = np.sort(np.random.default_rng(0).choice(tokens, size=size, replace=False))
    rho: list[list[Floats]] = [[] for _ in maps]
    for true, predictions in basis.rows.outputs(maps, sample):
        ranked = RankedTruth.of(true)
        for found, predicted in zip(rho, predictions, strict=True):
            found.append(to_host(ranked.spearman(predicted)))
    return [
        _OfSampled(r, size, finite_mean(np.concatenate(found)), faithful)
        for r, found, faithful in zip(_r_all(basis, maps), rho, _faithfulness_all(basis, maps), strict=True)
    ]


def _r_all(basis: EvaluatedBasis, maps: Sequence[LinearMap]) -> list[float]:
    assert basis.everything is not None
    solutions = [coefficients(basis.problem, fitted.diagnosis.root_penalty) for fitted in maps]
    return [finite_mean(one.pearson()) for one in basis.everything.scores(solutions, basis.moments)]


def _faithfulness_all(basis: EvaluatedBasis, maps: Sequence[LinearMap]) -> list[Faithfulness]:
    rows = np.random.default_rng(0).permutation(len(basis.inputs.test_rows))[:SAMPLED_SUBJECTS]
    own, mean, predicted = basis.rows.largest(maps, rows)
    counts = row_counts(len(rows))
    return [agreement(columns, own, mean, counts) for columns in predicted]


def _all_outputs(sampled: _OfSampled | None) -> dict[str, Any]:
    """Return scores with every token of the vocabulary as output."""
    if sampled is None:
        return {"r_all": None, "spearman_sample": None, "sampled_outputs": None}
    return {
        "r_all": sampled.r,
        "spearman_sample": sampled.spearman,
        "sampled_outputs": sampled.outputs,
        "faithfulness_all": sampled.faithful,
    }


def _controls(basis: EvaluatedBasis, root_penalty: float) -> dict[str, Any]:
    """Return what r a map of this penalty reaches without the relation (see `pipeline.evaluate.controls`)."""
    problem = basis.exchangeable
    shuffled, shuffled_std, after_other, unrelated = math.nan, math.nan, None, None
    if basis.shuffled is not None:
        shuffled, shuffled_std = basis.shuffled.r(root_penalty)
    if problem is not None:
        if basis.other_targets is not None:
            after_other = basis.other_targets.r(problem, root_penalty)
        if basis.unrelated_targets is not None:
            unrelated = basis.unrelated_targets.r(problem, root_penalty)
    return {
        "r_shuffled": shuffled,
        "r_shuffled_std": shuffled_std,
        "r_mean_logit": basis.mean_logit,
        "r_other_prompt": after_other,
        "r_unrelated": unrelated,
    }


def _path(basis: EvaluatedBasis, fitted: LinearMap) -> Iterator[PathPoint]:
    """Follow the ridge path that chose a map's penalty on held-out rows and ground truth."""
    path = fitted.diagnosis.path
    if path is None:
        return
    problem, moments = basis.stated
    known = KnownSources.of(fitted, basis.inputs.relation)
    for point in path.points:
        solution = coefficients(problem, point.root_penalty)
        at = known.hits(problem, solution)
        yield PathPoint(
            root_penalty=point.root_penalty,
            loo_r=point.score,
            r=finite_mean(problem.score(solution, moments).pearson()),
            hit1=at.get(1),
            hit5=at.get(5),
            chosen=_chosen(path, point.root_penalty),
        )


def _chosen(path: RidgePath, root_penalty: float) -> str | None:
    if root_penalty == path.reading:
        return "reading"
    return "best" if root_penalty == path.best else None
