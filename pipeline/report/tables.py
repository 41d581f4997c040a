"""Results as tables for other programs: CSV, and Parquet with the same names and rows.

Every table is in long form, one observation a row. Parquet keeps types, and pandas, polars, DuckDB and R read
it without guessing; token text that UTF-8 cannot encode (a lone surrogate) is escaped there, as in the CSV.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from lincorr.scores.relation_scores import DIRECTIONS, RANKS, WithHits
from lincorr.scores.results import Results
from lincorr.scores.study import Spread, Study
from pipeline.report.folder import replacing
from pipeline.report.names import STUDY_TABLES
from pipeline.report.write import (
    LINK_COLUMNS,
    SCORE_COLUMNS,
    encode,
    link_rows,
    score_rows,
    table_csv,
    write_report,
)

Rows = list[dict[str, Any]]


def write_results(results: Results, folder: Path) -> Path:
    """Write pages, plots and tables into `folder`, in place of the last report there; return the first page.

    Raises:
        BadInput: a file that no report wrote has the name of one of the report's; nothing was changed.
        LincorrError: the folder cannot be written.
    """
    with replacing(folder) as new:
        page = write_report(results, new)
        write_tables(results, new)
    return folder / page.name


def write_tables(results: Results, folder: Path) -> None:
    """Write the tables into an empty `folder`: Parquet of scores and links, and both forms of a study's.

    A table without rows is not written.
    """
    _write_parquet(folder / "scores.parquet", list(score_rows(results)), SCORE_COLUMNS)
    _write_parquet(folder / "links.parquet", list(link_rows(results)), LINK_COLUMNS)
    for name, make in _STUDY_TABLES.items():
        rows = make(results.study) if results.study else []
        if rows:
            columns = list(rows[0])
            (folder / f"{name}.csv").write_bytes(table_csv(columns, rows))
            _write_parquet(folder / f"{name}.parquet", rows, columns)


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if rows:
        arrays = [_array([row[name] for row in rows]) for name in columns]
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names=list(columns)), path)


def _array(values: Sequence[Any]) -> Any:
    """Return a column; one without any known value is of type float64."""
    known = [value for value in values if value is not None]
    if known and isinstance(known[0], str):
        return pyarrow.array([value if value is None else encode(value).decode() for value in values])
    if not known or any(isinstance(value, float) for value in known):
        return pyarrow.array(values, type=pyarrow.float64())
    return pyarrow.array(values)


# --- what a study adds ---------------------------------------------------------------------------------


def family_rows(study: Study) -> Rows:
    """One row for each family and fit."""
    return [
        {
            "family": family.family,
            "fit": fit.name,
            "relations": fit.relations,
            **_cells(fit, "r", "r_std", "r_low", "r_high"),
            **_cells(fit, "r_shuffled", "r_mean_logit", "r_other_prompt", "r_unrelated"),
            "r_identity": family.r_identity,
            **_cells(fit, "faithfulness", "faithfulness_constant"),
            **{
                f"{role}_{kind}": getattr(getattr(family.coverage, role), kind)
                for role in ("source", "target")
                for kind in ("whole", "phrase", "subword")
            },
            **_hit_cells(fit),
            **{
                f"{direction.replace(' ', '_')}_ceiling@1": (family.ceilings or {}).get(direction)
                for direction in DIRECTIONS
            },
        }
        for family in study.families
        for fit in family.fits
    ]


def matrix_rows(study: Study) -> Rows:
    """One row for each family, way of fitting, source and target prompt."""
    return [
        {
            "family": matrix.family,
            "fit": matrix.fit,
            "source": source.name,
            "target": target.name,
            "r": r,
        }
        for matrix in study.matrices
        for source, row in zip(matrix.templates, matrix.r, strict=True)
        for target, r in zip(matrix.templates, row, strict=True)
        if source is not target
    ]


def growth_rows(study: Study) -> Rows:
    """One row for each relation, number of subjects and fit."""
    return [
        {
            "relation": one.relation,
            **_cells(point, "subjects", "fitted", "fit", "root_penalty", "r", "r_std"),
            **_hit_cells(point),
        }
        for one in study.growth
        for point in one.points
    ]


def paper_rows(study: Study) -> Rows:
    """One row for each figure of the paper and fit."""
    return [
        {
            **_cells(row, "relation", "measure", "paper", "model", "table", "note"),
            "fit": fit,
            "ours": value,
        }
        for row in study.paper or ()
        for fit, value in row.ours.items()
    ]


def paraphrase_rows(study: Study) -> Rows:
    """One row for each relation that was asked in several wordings, and fit."""
    return [
        {
            "relation": one.relation,
            "wordings": len(one.wordings),
            "fit": fit.name,
            **_spread_cells("r", fit.r),
            **_spread_cells("hit1", fit.hit1),
        }
        for one in study.paraphrases
        for fit in one.fits
    ]


def generalisation_rows(study: Study) -> Rows:
    """One row for each relation that was edited, and fit."""
    if study.generalisation is None:
        return []
    return [
        {**_cells(row, "relation", "edits", "success", "random"), "fit": name, **_cells(fit, "hit1", "r")}
        for row in study.generalisation.relations
        for name, fit in row.fits.items()
    ]


def operator_rows(study: Study) -> Rows:
    """One row for each group of maps, map, and relation whose rows it was applied to."""
    return [
        {
            **_cells(group, "name", "kind", "fit"),
            "map": own,
            "rows": other,
            "r": cell.r,
            **_hit_cells(cell),
        }
        for group in study.operators or ()
        for own, row in zip(group.relations, group.applied or (), strict=False)
        for other, cell in zip(group.relations, row, strict=True)
    ]


def rank_rows(study: Study) -> Rows:
    """One row for each group of maps, map, and number of directions of its source."""
    return [
        {
            **_cells(group, "name", "kind", "fit"),
            "map": relation,
            "directions": point.directions,
            "r_together": point.together[number],
            "r_alone": point.alone[number],
            "r_whole": group.joint.r[number],
            "needed_together": group.joint.together,
            "needed_alone": group.joint.alone[number],
        }
        for group in study.operators or ()
        for number, relation in enumerate(group.relations)
        for point in group.joint.points
    ]


def spectrum_rows(study: Study) -> Rows:
    """One row for each singular value that is reported: of each template, and of all side by side ("*")."""
    if study.spectrum is None:
        return []
    return [
        {
            "template": one.templates[0] if single else "*",
            **_cells(one, "count", "rank_1", "rank_01"),
            "exponent": one.law and one.law.exponent,
            "number": number,
            "value": value,
        }
        for single, lines in ((False, (study.spectrum.together,)), (True, study.spectrum.alone))
        for one in lines
        for number, value in zip(one.numbers, one.values, strict=True)
    ]


def _cells(row: object, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _spread_cells(name: str, spread: Spread | None) -> dict[str, float | None]:
    parts = ("mean", "std", "lowest", "highest")
    return {f"{name}_{part}": None if spread is None else getattr(spread, part) for part in parts}


def _hit_cells(fit: WithHits) -> dict[str, float | None]:
    return {
        f"{direction.replace(' ', '_')}_hit@{rank}{end}": value
        for direction in DIRECTIONS
        for rank in RANKS
        for end, value in zip(
            ("", "_low", "_high"),
            (fit.hit(direction, rank), *fit.hit_interval(direction, rank)),
            strict=True,
        )
    }


_STUDY_TABLES = {
    "families": family_rows,
    "matrix": matrix_rows,
    "growth": growth_rows,
    "paper": paper_rows,
    "paraphrases": paraphrase_rows,
    "generalisation": generalisation_rows,
    "operators": operator_rows,
    "ranks": rank_rows,
    "spectrum": spectrum_rows,
}
assert tuple(_STUDY_TABLES) == STUDY_TABLES  # which is told apart from here: this file imports pyarrow
