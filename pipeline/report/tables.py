"""A results document as tables for other programs: CSV, and Parquet with the same names and rows.

Every table is in long form, one observation a row. Parquet keeps types, and pandas, polars, DuckDB and R read
it without guessing; token text that UTF-8 cannot say (a lone surrogate) is its escape there, as in the CSV.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from lincorr.scores.results import DIRECTIONS, RANKS, hit
from lincorr.strict import finite
from pipeline.report.plots.figure import Json
from pipeline.report.write import (
    LINK_COLUMNS,
    SCORE_COLUMNS,
    encode,
    link_rows,
    replace_file,
    score_rows,
    table_csv,
    write_report,
)

Rows = list[dict[str, Any]]


def write_results(document: Mapping[str, Any], folder: Path) -> Path:
    """Write a document's pages, plots and tables into `folder`; return the page to begin with."""
    page = write_report(document, folder)
    write_tables(document, folder)
    return page


def write_tables(document: Mapping[str, Any], folder: Path) -> None:
    """Write a document's tables: Parquet of scores and links, and both forms of what a study adds.

    A table without rows is not written, and one left by an earlier report is removed.
    """
    document = finite(document)
    folder.mkdir(parents=True, exist_ok=True)
    _write_parquet(folder / "scores.parquet", list(score_rows(document)), SCORE_COLUMNS)
    _write_parquet(folder / "links.parquet", list(link_rows(document)), LINK_COLUMNS)
    study = document.get("study") or {}
    for name, make in _STUDY_TABLES.items():
        rows = make(study) if study else []
        for suffix in (".csv", ".parquet"):
            if not rows:
                (folder / (name + suffix)).unlink(missing_ok=True)
        if rows:
            columns = list(rows[0])
            replace_file(folder / f"{name}.csv", table_csv(columns, rows))
            _write_parquet(folder / f"{name}.parquet", rows, columns)


def _write_parquet(path: Path, rows: Sequence[Json], columns: Sequence[str]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    arrays = [_array([row[name] for row in rows]) for name in columns]
    table = pyarrow.Table.from_arrays(arrays, names=list(columns))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        pyarrow.parquet.write_table(table, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _array(values: Sequence[Any]) -> Any:
    """Return a column; one in which nothing is known is of numbers."""
    known = [value for value in values if value is not None]
    if known and isinstance(known[0], str):
        return pyarrow.array([value if value is None else encode(value).decode() for value in values])
    if not known or any(isinstance(value, float) for value in known):
        return pyarrow.array(values, type=pyarrow.float64())
    return pyarrow.array(values)


# --- what a study adds ---------------------------------------------------------------------------------


def family_rows(study: Json) -> Rows:
    """One row for each family and fit."""
    return [
        {
            "family": family["family"],
            "fit": fit["name"],
            "relations": fit["relations"],
            **{name: fit[name] for name in ("r", "r_std", "r_low", "r_high")},
            **{name: fit[name] for name in ("r_shuffled", "r_mean_logit", "r_other_prompt", "r_unrelated")},
            "r_identity": family["r_identity"],
            **{
                f"{role}_{kind}": share
                for role, shares in family["coverage"].items()
                for kind, share in shares.items()
            },
            **_hit_cells(fit),
        }
        for family in study["families"]
        for fit in family["fits"]
    ]


def matrix_rows(study: Json) -> Rows:
    """One row for each family, way of fitting, source and target prompt."""
    return [
        {
            "family": matrix["family"],
            "fit": matrix["fit"],
            "source": source["name"],
            "target": target["name"],
            "r": r,
        }
        for matrix in study["matrices"]
        for source, row in zip(matrix["templates"], matrix["r"], strict=True)
        for target, r in zip(matrix["templates"], row, strict=True)
        if source is not target
    ]


def growth_rows(study: Json) -> Rows:
    """One row for each relation, number of subjects and fit."""
    return [
        {
            "relation": one["relation"],
            **{name: point[name] for name in ("subjects", "fitted", "fit", "root_penalty", "r", "r_std")},
            **_hit_cells(point),
        }
        for one in study["growth"]
        for point in one["points"]
    ]


def paper_rows(study: Json) -> Rows:
    """One row for each figure of the paper and fit."""
    return [
        {
            **{name: row[name] for name in ("relation", "measure", "paper", "model", "table", "note")},
            "fit": fit,
            "ours": value,
        }
        for row in study["paper"] or []
        for fit, value in row["ours"].items()
    ]


def paraphrase_rows(study: Json) -> Rows:
    """One row for each relation that was asked in several wordings, and fit."""
    parts = ("mean", "std", "lowest", "highest")
    return [
        {
            "relation": one["relation"],
            "wordings": len(one["wordings"]),
            "fit": fit["name"],
            **{f"{what}_{part}": (fit[what] or {}).get(part) for what in ("r", "hit1") for part in parts},
        }
        for one in study["paraphrases"]
        for fit in one["fits"]
    ]


def generalisation_rows(study: Json) -> Rows:
    """One row for each relation that was edited, and fit."""
    return [
        {**{name: row[name] for name in ("relation", "edits", "success", "random")}, "fit": name, **fit}
        for row in (study["generalisation"] or {}).get("relations", ())
        for name, fit in row["fits"].items()
    ]


def _hit_cells(fit: Json) -> dict[str, float | None]:
    fit = {"hits": None, **fit}
    return {
        f"{direction.replace(' ', '_')}_hit@{rank}": hit(fit, direction, rank)
        for direction in DIRECTIONS
        for rank in RANKS
    }


_STUDY_TABLES = {
    "families": family_rows,
    "matrix": matrix_rows,
    "growth": growth_rows,
    "paper": paper_rows,
    "paraphrases": paraphrase_rows,
    "generalisation": generalisation_rows,
}
