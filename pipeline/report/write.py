"""Results as files that people read: pages, plots and tables.

A pure function of the results: nothing is computed here that they do not hold.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lincorr.scores.asked import ceiling_share
from lincorr.scores.documents import to_document
from lincorr.scores.faithfulness import FAITHFULNESS, faithfulness_figures
from lincorr.scores.relation_scores import DIRECTIONS, RANKS, FitScores, RelationScores
from lincorr.scores.results import Results
from pipeline.report.folder import INDEX
from pipeline.report.pages.index import Entry, entries_of, index_view
from pipeline.report.pages.relation import relation_view
from pipeline.report.pages.render import index_page, relation_page
from pipeline.report.plots.figure import Plot
from pipeline.report.processes import call_all


def write_report(results: Results, folder: Path) -> Path:
    """Write pages, tables and plots into an empty `folder`, and return the path of the page to begin with.

    One relation has one page, report.html; with several, or with a study, report.html is an index and
    `<relation>.html` the page of each. A plot that has nothing to show is not written. Equal results give
    equal files.
    """
    text = json.dumps(to_document(results), ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "report.json").write_bytes(encode(text + "\n"))
    (folder / "scores.csv").write_bytes(table_csv(SCORE_COLUMNS, score_rows(results)))
    (folder / "links.csv").write_bytes(table_csv(LINK_COLUMNS, link_rows(results)))
    entries = entries_of(results.relations)
    page = folder / INDEX
    if len(entries) == 1 and results.study is None:
        page.write_bytes(_relation_page(results, entries, 0, folder, alone=True))
        return page
    call_all(partial(_write_relation_page, results, entries, folder), len(entries))
    view = index_view(results, entries)
    _write_plots(view.plots, view.png, folder)
    page.write_bytes(encode(index_page(results, view)))
    return page


def _write_relation_page(results: Results, entries: Sequence[Entry], folder: Path, number: int) -> None:
    page = _relation_page(results, entries, number, folder, alone=False)
    (folder / entries[number].page).write_bytes(page)


def _relation_page(
    results: Results, entries: Sequence[Entry], number: int, folder: Path, *, alone: bool
) -> bytes:
    """Write a relation's plots, and return its page; plots of one relation at a time are in memory."""
    view = relation_view(entries[number].data, entries[number].key)
    _write_plots(view.plots, view.png, folder)
    return encode(relation_page(results, view, None if alone else (entries, number)))


# --- files ----------------------------------------------------------------------------------


def _write_plots(plots: Mapping[str, Plot | None], png: Callable[[str], str], folder: Path) -> None:
    for name, plot in plots.items():
        if plot is not None:
            (folder / png(name)).write_bytes(plot.png)


def encode(text: str) -> bytes:
    """UTF-8; a lone surrogate, which UTF-8 cannot encode, becomes its escape, valid in JSON, too."""
    return text.encode("utf-8", errors="backslashreplace")


def table_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a table as CSV, its header first.

    An apostrophe goes before a text that a spreadsheet would compute; in Parquet all are exact.
    """
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return encode(buffer.getvalue())


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")  # as OWASP lists them


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


# --- tables ---------------------------------------------------------------------------------

FIT_COLUMNS = (
    *("name", "label", "source_columns", "target_columns", "method", "r", "r_std", "r_low", "r_high", "r2"),
    *("spearman", "r_all", "spearman_sample", "sampled_outputs"),
    *("r_shuffled", "r_shuffled_std", "r_mean_logit", "r_other_prompt", "r_unrelated"),
    *("root_penalty", "rank", "sigma_1", "sigma_r", "sigma_next", "noise_floor", "identified"),
    *("normal_residual", "min_norm_residual"),
)
HIT_COLUMNS = tuple(
    f"{direction.replace(' ', '_')}_{what}"
    for direction in DIRECTIONS
    for what in (
        *(f"hit@{rank}{end}" for rank in RANKS for end in ("", "_low", "_high")),
        "of",
        *(f"chance@{rank}" for rank in RANKS),
        *(f"as_fitted@{rank}" for rank in RANKS),
        "ceiling@1",
    )
)
SCORE_COLUMNS = (
    "relation",
    "family",
    "other_prompt",
    "unrelated_pair",
    "r_identity",
    *("fit" if name == "name" else name for name in FIT_COLUMNS),
    *FAITHFULNESS,
    *HIT_COLUMNS,
)
LINK_COLUMNS = ("relation", "fit", "source", "rank", "target", "weight", "right", "truth")


def score_rows(results: Results) -> Iterator[dict[str, Any]]:
    """One row for each relation and fit."""
    for relation in results.relations:
        for fit in relation.fits:
            values = [getattr(fit, name) for name in FIT_COLUMNS]
            shares = [*_faithfulness_cells(fit), *_hit_cells(fit, relation)]
            row = [relation.name, relation.family, *_others(relation), *values, *shares]
            yield dict(zip(SCORE_COLUMNS, row, strict=True))


def _others(relation: RelationScores) -> list[Any]:
    other, unrelated = relation.other_prompt, relation.unrelated_pair
    return [other and other.template, unrelated and unrelated.relation, relation.identity.r]


def _faithfulness_cells(fit: FitScores) -> Iterable[float | None]:
    return faithfulness_figures(fit.faithfulness, fit.faithfulness_all).values()


def _hit_cells(fit: FitScores, relation: RelationScores) -> Iterator[float | None]:
    for direction in DIRECTIONS:
        for rank in RANKS:
            yield fit.hit(direction, rank)
            yield from fit.hit_interval(direction, rank)
        yield fit.asked(direction)
        yield from (fit.chance(direction, rank) for rank in RANKS)
        yield from (fit.hit_as_fitted(direction, rank) for rank in RANKS)
        yield ceiling_share(relation.asked, direction)


def link_rows(results: Results) -> Iterator[dict[str, Any]]:
    """One row for each strong link; tokens are exact, `truth` is a JSON list."""
    for relation in results.relations:
        for source in relation.strongest:
            truth = json.dumps(source.truth, ensure_ascii=False)
            for fit, links in source.by_fit.items():
                for rank, link in enumerate(links, start=1):
                    names = (relation.name, fit, source.source, rank)
                    values = (link.token, link.weight, link.right, truth)
                    yield dict(zip(LINK_COLUMNS, names + values, strict=True))
