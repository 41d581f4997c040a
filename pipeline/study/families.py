"""Statistics over relations: families, wordings, the paper's figures."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lincorr.relations.paper import GRADIENT, paper_figures
from lincorr.scores.results import DIRECTIONS, RANKS, chance, hit

REPLICATES = 2000


_FEWEST_RELATIONS = 3  # of which an interval over relations says something


_CONTROLS = ("r_shuffled", "r_mean_logit", "r_other_prompt", "r_unrelated")


_ROLES = ("source", "target")


Json = Mapping[str, Any]


def first_wording(name: str, names: Collection[str]) -> str:
    """Return the relation of which ``name`` is a further wording (``city-country`` of ``city-country.2``).

    Args:
        names: the relations that there are; a name whose first wording is not among them is its own.
    """
    first, _, number = name.rpartition(".")
    return first if number.isdecimal() and first in names else name


# --- families ------------------------------------------------------------------------------------------


def family_summary(family: str, relations: Sequence[Json]) -> dict[str, Any]:
    """Sum up a family: means over its relations, and how far they spread.

    Returns:
        JSON values: family, relations (names), coverage (of source and target answers: shares that are whole
        tokens, words of a phrase, subwords), r_identity, and fits: for each name, label, relations, r, r_std
        (over relations), r_low and r_high (95 % of the mean over other relations; None for fewer than 3), the
        mean of every control, and hits (each direction: k -> mean share over the relations with a known
        truth, `chance`, and `of`: how many these are).
    """
    return {
        "family": family,
        "relations": [relation["name"] for relation in relations],
        "coverage": {
            role: _coverage([relation[role]["coverage"] for relation in relations]) for role in _ROLES
        },
        "r_identity": _mean([relation["identity"]["r"] for relation in relations]),
        "fits": [_family_fit(name, relations) for name in _fit_names(relations)],
    }


def _coverage(counts: Sequence[Json]) -> dict[str, float]:
    """Return the share of each kind of answer; their list is never empty."""
    total = sum(sum(one.values()) for one in counts)
    return {kind: sum(one[kind] for one in counts) / total for kind in counts[0]}


def _fit_names(relations: Sequence[Json]) -> list[str]:
    return list(dict.fromkeys(fit["name"] for relation in relations for fit in relation["fits"]))


def _family_fit(name: str, relations: Sequence[Json]) -> dict[str, Any]:
    fits = [fit for relation in relations for fit in relation["fits"] if fit["name"] == name]
    r = [fit["r"] for fit in fits if fit["r"] is not None]
    low, high = interval_over(r)
    return {
        "name": name,
        "label": fits[0]["label"],
        "relations": len(fits),
        "r": _mean(r),
        "r_std": float(np.std(r)) if r else None,
        "r_low": low,
        "r_high": high,
        **{control: _mean([fit[control] for fit in fits]) for control in _CONTROLS},
        "hits": {direction: _family_hits(fits, direction) for direction in DIRECTIONS},
    }


def _family_hits(fits: Sequence[Json], direction: str) -> dict[str, Any] | None:
    known = [fit for fit in fits if hit(fit, direction, "of")]
    if not known:
        return None
    return {
        **{rank: _mean([hit(fit, direction, rank) for fit in known]) for rank in RANKS},
        "chance": {rank: _mean([chance(fit, direction, rank) for fit in known]) for rank in RANKS},
        "of": len(known),
    }


def growth_by_family(relations: Sequence[Json], growth: Mapping[str, Sequence[Json]]) -> list[dict[str, Any]]:
    """Return each family's mean growth over its relations: family, and points as of one relation.

    A point's r and hits are means over the relations that have them; `relations` says how many there are.
    """
    found = []
    for family in dict.fromkeys(relation["family"] for relation in relations):
        members = [r["name"] for r in relations if r["family"] == family and r["name"] in growth]
        alike: dict[tuple[int, str], list[Json]] = {}
        for point in (point for name in members for point in growth[name]):
            alike.setdefault((point["subjects"], point["fit"]), []).append(point)
        points = [_mean_point(some) for some in alike.values()]
        if points:
            found.append({"family": family, "relations": len(members), "points": points})
    return found


def _mean_point(points: Sequence[Json]) -> dict[str, Any]:
    return {
        **{name: points[0][name] for name in ("subjects", "fitted", "fit")},
        "relations": len(points),
        "r": _mean([point["r"] for point in points]),
        "hits": {direction: _family_hits(points, direction) for direction in DIRECTIONS},
    }


def interval_over(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of a mean over other relations of this kind (bootstrap).

    Relations are drawn with replacement; None for fewer than 3 of them.
    """
    if len(values) < _FEWEST_RELATIONS:
        return None, None
    rng = np.random.default_rng(0)
    means = np.asarray(values)[rng.integers(len(values), size=(REPLICATES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# --- paraphrases ---------------------------------------------------------------------------------------


def paraphrases_of(relations: Sequence[Json]) -> list[dict[str, Any]]:
    """Say how much a score is one wording's accident: relations that were asked in several wordings.

    Returns:
        JSON values: relation, wordings (the texts of source and target), and fits: name, and of r and of
        hit@1 (influenced target) mean, std, lowest and highest over wordings.
    """
    names = [relation["name"] for relation in relations]
    groups: dict[str, list[Json]] = {}
    for relation in relations:
        groups.setdefault(first_wording(relation["name"], names), []).append(relation)
    return [
        {
            "relation": name,
            "wordings": [[relation[role]["text"] for role in _ROLES] for relation in group],
            "fits": [_over_wordings(fit, group) for fit in _fit_names(group)],
        }
        for name, group in groups.items()
        if len(group) > 1
    ]


def _over_wordings(name: str, group: Sequence[Json]) -> dict[str, Any]:
    fits = [fit for relation in group for fit in relation["fits"] if fit["name"] == name]
    hits = [hit(fit, DIRECTIONS[0], "1") for fit in fits]
    return {"name": name, "r": _spread([fit["r"] for fit in fits]), "hit1": _spread(hits)}


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "mean": float(np.mean(known)),
        "std": float(np.std(known)),
        "lowest": min(known),
        "highest": max(known),
    }


# --- beside the paper ----------------------------------------------------------------------------------


def beside_paper(relations: Sequence[Json], gradients: Sequence[Json] = ()) -> list[dict[str, Any]]:
    """Set the paper's figures beside ours, one row a figure; those of measures that a study has.

    Args:
        relations: scores of every relation.
        gradients: gradient correlations, of the relations that have them.

    Returns:
        JSON values: relation, measure, paper (its value), model, table, note, and ours: fit -> value.
    """
    rows = []
    by_name = {found["relation"]: found["fits"] for found in gradients}
    for relation in relations:
        for figure in paper_figures(relation["name"]):
            if figure.measure == GRADIENT:
                ours = {fit["name"]: fit["r"] for fit in by_name.get(relation["name"], ())}
            else:
                ours = {fit["name"]: _measured(fit, figure.measure) for fit in relation["fits"]}
            if any(value is not None for value in ours.values()):
                rows.append(
                    {
                        "relation": relation["name"],
                        "measure": figure.measure,
                        "paper": figure.value,
                        "model": figure.model,
                        "table": figure.table,
                        "note": figure.note,
                        "ours": ours,
                    }
                )
    return rows


def _measured(fit: Json, measure: str) -> float | None:
    """Return what a fit has of a measure that the paper reports."""
    if measure == "pearson":
        value: float | None = fit["r"]
        return value
    direction, _, rank = measure.partition("@")
    return hit(fit, direction, rank) if direction in DIRECTIONS else None
