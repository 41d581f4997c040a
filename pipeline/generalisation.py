"""Over relations: does generalisation of edits go with precision of W (hit@1), or with r alone?"""

from collections.abc import Mapping, Sequence
from typing import Any

from lincorr.paper import paper_figures
from lincorr.ranks import rank_correlation
from lincorr.store import LogitStore

Json = Mapping[str, Any]

_PAPER_MODEL = "llama-3-8b"


def edit_name(relation: str) -> str:
    """Return the name under which a relation's edits are kept among the scores; no relation's own."""
    return f"{relation}--edit"


def kept_edits(store: LogitStore, relations: Sequence[str]) -> list[dict[str, Any]]:
    """Return what edits showed, of those relations that `lincorr edit` has edited."""
    names = (edit_name(relation) for relation in relations)
    return [store.maps.load_scores(name) for name in names if store.maps.score_inputs(name) is not None]


def across_relations(edited: Sequence[Json], scores: Sequence[Json]) -> dict[str, Any]:
    """Set generalisation beside hit@1 and r.

    Args:
        edited: what edits of each relation showed.
        scores: the scores of the maps of the same relations, in any order, and perhaps of others.

    Returns:
        A row for each relation, and for each fit Spearman's rho of the success rate with hit@1, with r, and
        with what chance would have (1 over the number of targets): where that is large, a relation with few
        targets does well in everything. Under ``paper`` the same of the paper's relations.
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
            rates = {"success": of["generalisation"], "before": None, "random": of["random"]}
            rows.append({"relation": name, **rates, "fits": {"domain": fit}})
    return _document(rows)


def _row(edits: Json, fits: Sequence[Json]) -> dict[str, Any]:
    return {
        "relation": edits["relation"],
        **{key: edits[key] for key in ("success", "before", "random")},
        "fits": {
            fit["name"]: {"hit1": (fit["hits"] or {}).get("influenced target", {}).get("1"), "r": fit["r"]}
            for fit in fits
        },
    }


def _document(rows: Sequence[Json]) -> dict[str, Any]:
    fits = dict.fromkeys(fit for row in rows for fit in row["fits"])
    return {"relations": list(rows), "fits": {fit: _correlations(rows, fit) for fit in fits}}


def _correlations(rows: Sequence[Json], fit: str) -> dict[str, float | int]:
    known = [{"success": row["success"], "random": row["random"], **row["fits"].get(fit, {})} for row in rows]
    whole = [row for row in known if "r" in row and None not in row.values()]
    success = [row["success"] for row in whole]
    return {
        "relations": len(whole),
        **{key: rank_correlation([row[key] for row in whole], success) for key in ("hit1", "r", "random")},
    }
