"""Score one map on held-out subjects, with controls for what its r is worth."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lincorr.arrays import Array, to_host
from lincorr.scores.bootstrap import SAMPLED_OUTPUTS, mean_interval, replicated_pearson, row_counts
from lincorr.scores.faithfulness import BothAnswers, Faithfulness
from lincorr.scores.moments import finite_mean
from lincorr.scores.ranks import spearman
from lincorr.scores.relation_scores import ColumnScore, FitScores, PathPoint
from lincorr.solvers.result import LinearMap, RidgePath
from lincorr.solvers.spectrum import coefficients
from pipeline.evaluate.basis import EvaluatedBasis
from pipeline.evaluate.controls import shuffled_r
from pipeline.evaluate.predictions import Floats
from pipeline.evaluate.reading import hit_rates, hits_of_solution

SAMPLED_SUBJECTS = 512  # whose answers among all tokens are compared: all of 25,000 would take minutes

_LABELS = {
    "domain": "domain columns, least squares",
    "domain-ridge": "domain columns, ridge",
    "vocabulary": "full vocabulary, least squares",
    "vocabulary-ridge": "full vocabulary, ridge",
}


def score_fit(basis: EvaluatedBasis, name: str, fitted: LinearMap) -> FitScores:
    """Score one map, and its controls, on held-out rows.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    diagnosis = fitted.diagnosis
    solution = coefficients(basis.problem, diagnosis.root_penalty)
    correlation = basis.problem.score(solution, basis.moments)
    r, cut = to_host(correlation.pearson()), diagnosis.cut
    rho, low, high, faithful = _of_predictions(basis, fitted)
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
        r_std=float(np.nanstd(r)) if not np.isnan(r).all() else math.nan,
        r_low=low,
        r_high=high,
        r2=finite_mean(correlation.r2()),
        spearman=finite_mean(rho),
        **_all_outputs(basis, fitted, solution),
        **_controls(basis, diagnosis.root_penalty),
        r_by_target=tuple(ColumnScore(text, float(of_r), float(of_rho)) for text, of_r, of_rho in columns),
        hits=hits,
        faithfulness=faithful,
        hits_as_fitted=as_fitted,
        path=tuple(_path(basis, fitted)),
    )


def _of_predictions(basis: EvaluatedBasis, fitted: LinearMap) -> tuple[Floats, float, float, Faithfulness]:
    """Return what moments cannot give: rho of each answer, the interval of the mean r, and faithfulness."""
    rho, replicated, answers = [], [], BothAnswers()
    for predicted, true in basis.rows.answers(fitted):
        rho.append(spearman(predicted, true))
        replicated.append(replicated_pearson(predicted, true, basis.counts))
        answers.add(predicted, true)
    low, high = mean_interval(np.concatenate(replicated, axis=1))
    return np.concatenate(rho), low, high, answers.score(basis.counts)


def _all_outputs(basis: EvaluatedBasis, fitted: LinearMap, solution: Array) -> dict[str, Any]:
    """Return scores with every token of the vocabulary as output.

    They are the mean r, rho over a fixed sample of outputs, and faithfulness over a fixed sample of subjects.
    """
    if basis.everything is None:
        return {"r_all": None, "spearman_sample": None, "sampled_outputs": None}
    tokens = basis.inputs.n_tokens
    size = min(SAMPLED_OUTPUTS, tokens)
    sample = np.sort(np.random.default_rng(0).choice(tokens, size=size, replace=False))
    rho = [spearman(predicted, true) for predicted, true in basis.rows.outputs(fitted, sample)]
    return {
        "r_all": finite_mean(basis.everything.score(solution, basis.moments).pearson()),
        "spearman_sample": finite_mean(np.concatenate(rho)),
        "sampled_outputs": size,
        "faithfulness_all": _faithfulness_all(basis, fitted),
    }


def _faithfulness_all(basis: EvaluatedBasis, fitted: LinearMap) -> Faithfulness:
    rows = np.random.default_rng(0).permutation(len(basis.inputs.test_rows))[:SAMPLED_SUBJECTS]
    answers = BothAnswers()
    for predicted, true in basis.rows.outputs(fitted, np.arange(basis.inputs.n_tokens), rows):
        answers.add(predicted, true)
    return answers.score(row_counts(len(rows)))


def _controls(basis: EvaluatedBasis, root_penalty: float) -> dict[str, Any]:
    """Return what r a map of this penalty reaches without the relation (see `pipeline.evaluate.controls`)."""
    problem = basis.exchangeable
    shuffled, shuffled_std, after_other, unrelated = math.nan, math.nan, None, None
    if problem is not None:
        shuffled, shuffled_std = shuffled_r(problem, root_penalty, basis.moments)
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
    for point in path.points:
        solution = coefficients(basis.problem, point.root_penalty)
        at = hits_of_solution(basis.problem, solution, fitted, basis.inputs)
        yield PathPoint(
            root_penalty=point.root_penalty,
            loo_r=point.score,
            r=finite_mean(basis.problem.score(solution, basis.moments).pearson()),
            hit1=at.get(1),
            hit5=at.get(5),
            chosen=_chosen(path, point.root_penalty),
        )


def _chosen(path: RidgePath, root_penalty: float) -> str | None:
    if root_penalty == path.reading:
        return "reading"
    return "best" if root_penalty == path.best else None
