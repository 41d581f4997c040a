"""Over relations: does generalisation of edits go with precision of W (hit@1), or with r alone?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lincorr.relations.paper import paper_figures
from lincorr.scores.ranks import rank_correlation

Json = Mapping[str, Any]

FEWEST_EDITS = 5  # of a relation whose success rate counts
_PAPER_MODEL = "llama-3-8b"


def across_relations(edited: Sequence[Json], scores: Sequence[Json]) -> dict[str, Any]:
    """Set generalisation beside hit@1 and r.

    Args:
        edited: what edits of each relation showed.
        scores: the scores of the maps of the same relations, in any order, and perhaps of others.

    Returns:
        A row for each relation, and for each fit Spearman's rho, over the relations with `FEWEST_EDITS` edits
        or more, of the success rate with hit@1, with r, and with what chance would have (1 over the number of
        targets): a relation with few targets does well in everything. So also the partial rank correlations
        given chance. Under ``paper`` the same of the paper's relations.
    """
    by_name = {relation["name"]: relation for relation in scores}
    rows = [_row(edits, by_name[edits["relation"]]["fits"]) for edits in edited]
    return _document(rows) | {"paper": across_paper()}


def across_paper() -> dict[str, Any]:
    """Return the same of the paper's relations that have generalisation, hit@1 and r (T5, T2, T4)."""
    rows = []
    for name in dict.fromkeys(figure.relation for figure in paper_figures()):
        of = {f.measure: f.value for f in reversed(paper_figures(name)) if f.model == _PAPER_MODEL}
        if {"generalisation", "influenced target@1", "pearson"} <= set(of):
            fit = {"hit1": of["influenced target@1"], "r": of["pearson"]}
            rates = {"success": of["generalisation"], "random": of["random"], "edits": None}
            rows.append({"relation": name, **rates, "fits": {"domain": fit}})
    return _document(rows)


def _row(edits: Json, fits: Sequence[Json]) -> dict[str, Any]:
    return {
        "relation": edits["relation"],
        **{key: edits[key] for key in ("success", "random", "edits")},
        "fits": {
            fit["name"]: {"hit1": (fit["hits"] or {}).get("influenced target", {}).get("1"), "r": fit["r"]}
            for fit in fits
        },
    }


def _document(rows: Sequence[Json]) -> dict[str, Any]:
    fits = dict.fromkeys(fit for row in rows for fit in row["fits"])
    return {"relations": list(rows), "fits": {fit: _correlations(rows, fit) for fit in fits}}


def _correlations(rows: Sequence[Json], fit: str) -> dict[str, float | int]:
    enough = [row for row in rows if row["edits"] is None or row["edits"] >= FEWEST_EDITS]
    known = [{key: row[key] for key in ("success", "random")} | row["fits"].get(fit, {}) for row in enough]
    whole = [row for row in known if "r" in row and None not in row.values()]

    def rho(a: str, b: str) -> float:
        return rank_correlation([row[a] for row in whole], [row[b] for row in whole])

    chance = rho("random", "success")
    found: dict[str, float | int] = {"relations": len(whole), "random": chance}
    for key in ("hit1", "r"):
        found[key] = rho(key, "success")
        found[f"{key}_given_random"] = partial_correlation(found[key], rho(key, "random"), chance)
    return found


def partial_correlation(ab: float, ac: float, bc: float) -> float:
    """Return the correlation of a with b given c, from the three of pairs; NaN where c tells one of them."""
    rest = (1 - ac**2) * (1 - bc**2)
    return (ab - ac * bc) / math.sqrt(rest) if rest > 0 else math.nan
