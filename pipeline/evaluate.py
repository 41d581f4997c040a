"""Score fitted maps on held-out subjects, block by block, and read them against the truth."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array
from lincorr.errors import BadInput
from lincorr.metrics import CrossMoments, Hits, finite_mean, hits
from lincorr.solvers.factored import Factored
from lincorr.solvers.result import LinearMap, RidgePath
from lincorr.solvers.spectrum import Problem, coefficients
from lincorr.store import LogitStore
from pipeline.fit import FIT_NAMES, FitInputs, Source, held_out_moments, input_digest, set_up

_LABELS = {
    "domain": "domain columns, least squares",
    "domain-ridge": "domain columns, ridge",
    "vocabulary": "full vocabulary, least squares",
    "vocabulary-ridge": "full vocabulary, ridge",
}
_STRONGEST = 5


def evaluate_relation(
    store: LogitStore, inputs: FitInputs, token_texts: list[str], n_sources: int
) -> dict[str, Any]:
    """Return the scores of every kept map of a relation, as JSON values (see `pipeline.report`).

    Args:
        token_texts: surface text of every token.
        n_sources: well-known sources to read out.

    Raises:
        StoreDamaged, BadInput: rows or maps are missing, damaged, or fitted for other settings.
    """
    names = [name for source in inputs.choices for name in inputs.fit_names(source)]
    maps = {name: store.maps.load(inputs.relation.name, name) for name in FIT_NAMES if name in names}
    for name in maps:
        if store.maps.inputs(inputs.relation.name, name) != input_digest(store, inputs, _source_of(name)):
            raise BadInput(
                f"store: the map {inputs.relation.name!r} / {name!r} in {store.url!r} was fitted to other "
                "subjects or settings than these; run `lincorr fit` first"
            )
    held_out = {
        source: (set_up(store, inputs, source), held_out_moments(store, inputs, source))
        for source in inputs.choices
    }
    shown = list(inputs.relation.truth)[:n_sources] or inputs.relation.source.ids[:n_sources].tolist()
    reading = "vocabulary-ridge" if "vocabulary-ridge" in maps else "domain-ridge"
    read_out = {name: maps[name] for name in ("domain", reading) if name in maps}  # the paper's, and the best
    return {
        "name": inputs.relation.name,
        "family": inputs.relation.relation.family,
        "source": _side(inputs, "source"),
        "target": _side(inputs, "target"),
        "fits": [
            _score(store, inputs, name, fitted, *held_out[_source_of(name)]) for name, fitted in maps.items()
        ],
        "strongest": [_strongest(read_out, inputs, token, token_texts) for token in shown],
        "heatmap": _heatmap(reading, maps[reading], inputs, shown, token_texts),
    }


def _source_of(name: str) -> Source:
    return "vocabulary" if name.startswith("vocabulary") else "domain"


def _side(inputs: FitInputs, role: str) -> dict[str, Any]:
    side = getattr(inputs.relation.relation, role)
    columns = getattr(inputs.relation, role)
    return {
        "template": side.template.name,
        "text": side.template.text,
        "columns": len(columns),
        "answers": len(columns) + len(columns.dropped),
        "dropped": len(columns.dropped),
    }


def _score(
    store: LogitStore,
    inputs: FitInputs,
    name: str,
    fitted: LinearMap,
    problem: Problem,
    moments: CrossMoments,
) -> dict[str, Any]:
    solution = coefficients(problem, fitted.diagnosis.root_penalty)
    correlation = problem.score(solution, moments)
    r, diagnosis = correlation.pearson(), fitted.diagnosis
    cut, texts = diagnosis.cut, inputs.relation.target.texts
    return {
        "name": name,
        "label": _LABELS[name],
        "source_columns": len(fitted.source_ids),
        "target_columns": len(fitted.target_ids),
        "method": diagnosis.method,
        "reason": diagnosis.reason,
        "root_penalty": diagnosis.root_penalty,
        "penalty": diagnosis.penalty,
        "rank": cut.rank,
        "sigma_1": cut.sigma_1,
        "sigma_r": cut.sigma_r,
        "sigma_next": cut.sigma_next or None,
        "noise_floor": cut.noise_floor,
        "identified": diagnosis.warning() is None,
        "normal_residual": diagnosis.normal_residual,
        "min_norm_residual": diagnosis.min_norm_residual,
        "r": finite_mean(r),
        "r_std": float(np.nanstd(r)) if not np.isnan(r).all() else math.nan,
        "r2": finite_mean(correlation.r2()),
        "r_all": _score_all(store, problem, solution, moments),
        "r_by_target": [{"token": text, "r": float(value)} for text, value in zip(texts, r, strict=True)],
        "hits": _hits(fitted, inputs),
        "path": _path(inputs, fitted, problem, moments),
    }


def _score_all(store: LogitStore, problem: Problem, solution: Array, moments: CrossMoments) -> float | None:
    """Return the mean r over every token of the vocabulary as output, where hidden states tell it."""
    if not isinstance(problem, Factored):
        return None
    head = store.readout().as_float64()
    everything = problem.for_targets(head, np.arange(head.weight.shape[0]))
    return finite_mean(everything.score(solution, moments).pearson())


def _hits(fitted: LinearMap, inputs: FitInputs) -> dict[str, Any] | None:
    """Return hit@k both ways: a source's row of W, and a target's column among the domain's sources."""
    truth = inputs.relation.truth
    if not truth:
        return None
    sources = inputs.relation.source.ids.tolist()
    domain = fitted.block(sources, fitted.target_ids.tolist())
    by_source, by_target = _positions(inputs)
    return {
        "influenced target": _as_json(hits(domain, by_source)),
        "influencing source": _as_json(hits(domain.T, by_target)),
    }


def _positions(inputs: FitInputs) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the truth in positions of the domain's columns: by source and by target."""
    row = {token: i for i, token in enumerate(inputs.relation.source.ids.tolist())}
    column = {token: i for i, token in enumerate(inputs.relation.target.ids.tolist())}
    by_source = {row[token]: [column[t] for t in targets] for token, targets in inputs.relation.truth.items()}
    by_target: dict[int, list[int]] = {}
    for source, targets in by_source.items():
        for target in targets:
            by_target.setdefault(target, []).append(source)
    return by_source, by_target


def _as_json(found: Hits) -> dict[str, Any]:
    return {str(k): share for k, share in found.at.items()} | {"of": found.of}


def _path(
    inputs: FitInputs, fitted: LinearMap, problem: Problem, moments: CrossMoments
) -> list[dict[str, Any]]:
    """Follow the ridge path that chose a map's penalty on held-out rows and truth."""
    path = fitted.diagnosis.path
    if path is None:
        return []
    by_source, _ = _positions(inputs)
    rows = _positions_of_sources(fitted, list(inputs.relation.truth))
    truth = dict(enumerate(by_source.values()))
    points = []
    for point in path.points:
        solution = coefficients(problem, point.root_penalty)
        at = hits(np.asarray(problem.rows(solution, rows)), truth).at if truth else {}
        points.append(
            {
                "root_penalty": point.root_penalty,
                "loo_r": point.score,
                "r": finite_mean(problem.score(solution, moments).pearson()),
                "hit1": at.get(1),
                "hit5": at.get(5),
                "chosen": _chosen(path, point.root_penalty),
            }
        )
    return points


def _chosen(path: RidgePath, root_penalty: float) -> str | None:
    if root_penalty == path.reading:
        return "reading"
    return "best" if root_penalty == path.best else None


def _positions_of_sources(fitted: LinearMap, tokens: list[int]) -> NDArray[np.int64]:
    place = {token: i for i, token in enumerate(fitted.source_ids.tolist())}
    return np.array([place[token] for token in tokens], dtype=np.int64)


def _strongest(maps: dict[str, LinearMap], inputs: FitInputs, token: int, texts: list[str]) -> dict[str, Any]:
    right = set(inputs.relation.truth.get(token, ()))
    return {
        "source": texts[token],
        "truth": [texts[t] for t in inputs.relation.truth.get(token, ())],
        "by_fit": {
            name: [
                {"token": texts[target], "weight": weight, "right": target in right}
                for target, weight in fitted.strongest_targets(token, _STRONGEST)
            ]
            for name, fitted in maps.items()
        },
    }


def _heatmap(
    name: str, fitted: LinearMap, inputs: FitInputs, sources: list[int], texts: list[str]
) -> dict[str, Any]:
    truth = inputs.relation.truth
    targets = list(dict.fromkeys(t for token in sources for t in truth.get(token, ())))
    targets = targets or inputs.relation.target.ids[: len(sources)].tolist()
    return {
        "fit": name,
        "sources": [texts[token] for token in sources],
        "targets": [texts[token] for token in targets],
        "weights": fitted.block(sources, targets).tolist(),
        "right": [[t in truth.get(token, ()) for t in targets] for token in sources],
    }
