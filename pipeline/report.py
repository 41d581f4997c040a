"""A results document as files that people read: one page, its tables, its plots.

A plain function of the document: nothing is computed here that the document does not hold.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lincorr.strict_json import finite
from pipeline.plots.figure import Json, Plot
from pipeline.plots.path import path_plot
from pipeline.plots.pearson import pearson_plot
from pipeline.plots.text import label, minus, visible
from pipeline.plots.weights import weight_map, weights_plot

PAPER_FIT, READING_FIT = "domain", "vocabulary-ridge"
"""The two fits of the headline: the paper's method, and the one from which W reads best."""

DIRECTIONS = ("influenced target", "influencing source")
RANKS = ("1", "3", "5")
MAX_COLUMN_ROWS = 1000
"""Rows of the table of output columns; a full vocabulary would make the page unusable."""

EXTREMES = 8


def write_report(document: Mapping[str, Any], folder: Path) -> Path:
    """Write the page, its tables and its plots into `folder`, and return the path of the page.

    Each file appears whole or not at all, and the page last, so it never names a file that is
    not there. A plot that has nothing to show is not written, and one left by an earlier report
    of the same relation is removed. Equal documents give equal files.
    """
    document = finite(document)
    folder.mkdir(parents=True, exist_ok=True)
    relations = [_view(relation, key) for relation, key in _keyed(document["relations"])]
    for relation in relations:
        for name, plot in relation.plots.items():
            path = folder / relation.png(name)
            if plot is None:
                path.unlink(missing_ok=True)
            else:
                _replace(path, plot.png)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    _replace(folder / "report.json", _encode(text + "\n"))
    _replace(folder / "scores.csv", _table(SCORE_COLUMNS, score_rows(document)))
    _replace(folder / "links.csv", _table(LINK_COLUMNS, link_rows(document)))
    page = folder / "report.html"
    _replace(page, _encode(_page(document, relations)))
    return page


# --- files ----------------------------------------------------------------------------------


def _replace(path: Path, content: bytes) -> None:
    """Put the file there in one step: a kill leaves the old one, or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(text: str) -> bytes:
    """UTF-8; a lone surrogate, which UTF-8 lacks, becomes its escape, valid inside JSON too."""
    return text.encode("utf-8", errors="backslashreplace")


def _table(columns: Sequence[str], rows: Iterable[Json]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return _encode(buffer.getvalue())


# --- tables ---------------------------------------------------------------------------------

FIT_COLUMNS = (
    *("name", "label", "source_columns", "target_columns", "method", "r", "r_std", "r_low", "r_high", "r2"),
    *("spearman", "r_all", "spearman_sample", "sampled_outputs"),
    *("r_shuffled", "r_shuffled_std", "r_mean_logit", "r_other_prompt"),
    *("root_penalty", "rank", "sigma_1", "sigma_r", "sigma_next", "noise_floor", "identified"),
    *("normal_residual", "min_norm_residual"),
)
HIT_COLUMNS = tuple(
    f"{direction.replace(' ', '_')}_{what}"
    for direction in DIRECTIONS
    for what in (*(f"hit@{rank}" for rank in RANKS), "of", *(f"chance@{rank}" for rank in RANKS))
)
SCORE_COLUMNS = (
    "relation",
    "family",
    "other_prompt",
    *("fit" if name == "name" else name for name in FIT_COLUMNS),
    *HIT_COLUMNS,
)
LINK_COLUMNS = ("relation", "fit", "source", "rank", "target", "weight", "right", "truth")


def score_rows(document: Json) -> Iterable[dict[str, Any]]:
    """One row for each relation and fit."""
    for relation in document["relations"]:
        for fit in relation["fits"]:
            values = [fit[name] for name in FIT_COLUMNS]
            hits = [
                value
                for side in DIRECTIONS
                for value in (
                    *(hit(fit, side, rank) for rank in (*RANKS, "of")),
                    *(chance(fit, side, rank) for rank in RANKS),
                )
            ]
            other = (relation["other_prompt"] or {}).get("template")
            row = [relation["name"], relation["family"], other, *values, *hits]
            yield dict(zip(SCORE_COLUMNS, row, strict=True))


def link_rows(document: Json) -> Iterable[dict[str, Any]]:
    """One row for each strong link; tokens are exact, `truth` is a JSON list."""
    for relation in document["relations"]:
        for source in relation["strongest"]:
            truth = json.dumps(source["truth"], ensure_ascii=False)
            for fit, links in source["by_fit"].items():
                for rank, link in enumerate(links, start=1):
                    names = (relation["name"], fit, source["source"], rank)
                    values = (link["token"], link["weight"], link["right"], truth)
                    yield dict(zip(LINK_COLUMNS, names + values, strict=True))


def hit(fit: Json, direction: str, rank: str) -> float | None:
    """The share of known sources (or targets) with a right one among the `rank` strongest."""
    scores = (fit["hits"] or {}).get(direction) or {}
    value: float | None = scores.get(rank)
    return value


def chance(fit: Json, direction: str, rank: str) -> float | None:
    """The share of `hit` that weights in random order would have."""
    scores = (fit["hits"] or {}).get(direction) or {}
    value: float | None = (scores.get("chance") or {}).get(rank)
    return value


# --- what the template sees -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """One relation, ready for the template; `key` is safe in an id and in a file name."""

    key: str
    data: Json
    plots: dict[str, Plot | None]
    paper: Json | None
    reading: Json | None
    meaning: str
    columns: list[dict[str, Any]]
    """The r of each output column under each fit, as {"token", "r": one for each fit}."""
    extremes: Json | None
    """The best and worst predicted output columns of one fit; None where they are too few."""
    map_note: str

    def png(self, plot: str) -> str:
        return f"{self.key}-{plot}.png"

    @property
    def best(self) -> dict[str, float]:
        """The best score of each kind among the fits, to set in bold."""
        fits = self.data["fits"]
        scores = {name: [fit[name] for fit in fits] for name in ("r", "r2", "r_all", "spearman")}
        for direction in DIRECTIONS:
            for rank in RANKS:
                scores[f"{direction} {rank}"] = [hit(fit, direction, rank) for fit in fits]
        known = {name: [v for v in values if v is not None] for name, values in scores.items()}
        return {name: max(values) for name, values in known.items() if len(values) > 1}


def _keyed(relations: Sequence[Json]) -> Iterable[tuple[Json, str]]:
    """Each relation with a key of its own, made of its name without what a path could hold."""
    taken: set[str] = set()
    for relation in relations:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", relation["name"]).strip("-") or "relation"
        key, number = stem, 1
        while key.lower() in taken:  # some file systems ignore case
            number += 1
            key = f"{stem}-{number}"
        taken.add(key.lower())
        yield relation, key


def _view(relation: Json, key: str) -> View:
    fits = {fit["name"]: fit for fit in relation["fits"]}
    shown = weight_map(relation["heatmap"])
    paper, reading = fits.get(PAPER_FIT), fits.get(READING_FIT)
    return View(
        key=key,
        data=relation,
        plots={
            "pearson": pearson_plot(relation, f"{key}-pearson"),
            "path": path_plot(relation, f"{key}-path"),
            "weights": weights_plot(relation, f"{key}-weights"),
        },
        paper=paper,
        reading=reading,
        meaning=_meaning(relation, paper, reading),
        columns=_column_rows(relation),
        extremes=_extremes([reading, paper, *relation["fits"]]),
        map_note=shown.left_out if shown else "",
    )


def _meaning(relation: Json, paper: Json | None, reading: Json | None) -> str:
    """The headline in plain words; what is unknown is left unsaid."""
    source, target = relation["source"]["template"], relation["target"]["template"]
    words = (
        f"Mean r says how well the {target} logits follow from the {source} logits through one "
        "matrix, on subjects that the fit has not seen"
    )
    shares = [(fit, hit(fit, DIRECTIONS[0], "1")) for fit in (paper, reading) if fit]
    known = [f"{_percent(share)} ({fit['label']})" for fit, share in shares if share is not None]
    if not known:
        return f"{words}."
    return (
        f"{words}; hit@1 says how often the largest weight of a well-known {source} is on "
        f"a {target} that is true of it: {' and '.join(known)}."
    )


def _column_rows(relation: Json) -> list[dict[str, Any]]:
    """Joined by token and by which time it occurs, as two columns may share their text."""
    rows: dict[tuple[str, int], list[float | None]] = {}
    fits = relation["fits"]
    for number, fit in enumerate(fits):
        seen: dict[str, int] = {}
        for score in fit["r_by_target"]:
            token = score["token"]
            seen[token] = seen.get(token, 0) + 1
            row = rows.setdefault((token, seen[token]), [None] * len(fits))
            row[number] = score["r"]
    return [{"token": token, "r": rs} for (token, _), rs in rows.items()][:MAX_COLUMN_ROWS]


def _extremes(fits: Iterable[Json | None]) -> Json | None:
    """Of the first fit with scores: the columns that it predicts best, and worst first."""
    for fit in fits:
        scores = [row for row in fit["r_by_target"] if row["r"] is not None] if fit else []
        if fit and len(scores) > 1:
            ranked = sorted(scores, key=lambda row: float(row["r"]), reverse=True)
            shown = min(EXTREMES, len(ranked) // 2)
            return {"fit": fit, "best": ranked[:shown], "worst": ranked[: -shown - 1 : -1]}
    return None


# --- the page -------------------------------------------------------------------------------


def _page(document: Json, relations: Sequence[View]) -> str:
    environment = Environment(
        loader=PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "token": token_markup,
        "fixed": fixed,
        "interval": interval,
        "short": short,
        "count": count,
        "percent": _percent,
        "moment": moment,
        "prompt": prompt_markup,
        "sort": sort_value,
        "word": lambda text: label(text.strip(), 60),
        "svg": Markup,  # our own drawing, in which every text is escaped
    }
    page = environment.get_template("report.html.jinja")
    return page.render(
        document=document,
        relations=relations,
        directions=DIRECTIONS,
        ranks=RANKS,
        hit=hit,
        chance=chance,
        most_rows=MAX_COLUMN_ROWS,
    )


MISSING = "–"


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals; never a negative zero."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return minus(text.lstrip("-") if float(text) == 0 else text)


def interval(fit: Json) -> str:
    """Both ends of the mean r's interval."""
    return f"{fixed(fit['r_low'])} to {fixed(fit['r_high'])}"


def short(value: float | None, digits: int = 3) -> str:
    """A number of any size in a few characters: 3480, 0.001, 1.2 × 10⁻¹⁵."""
    if value is None:
        return MISSING
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent:
        return minus(mantissa)
    if 0 < int(exponent) < 6:
        return count(round(value))
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{minus(mantissa)} × 10{power}"


def count(value: float | None) -> str:
    """A whole number, its thousands apart by thin spaces."""
    return MISSING if value is None else minus(f"{value:,}".replace(",", "\u202f"))


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f} %"


def sort_value(value: Any) -> str:
    """What the page's script sorts by; nothing for what is missing, which it puts last."""
    return "" if value is None else str(value)


def moment(text: str | None) -> str:
    """A time stamp in words, in UTC; as it is where it is none."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return text or MISSING
    if when.tzinfo is None:
        return f"{when.day} {when:%B %Y, %H:%M}"
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def token_markup(text: str) -> Markup:
    """Token text, escaped, cut off from its surroundings, with what is invisible made visible."""
    runs = (
        Markup('<span class="unseen">{}</span>').format(run) if symbol else Markup.escape(run)
        for run, symbol in visible(text)
    )
    return Markup('<bdi class="token">{}</bdi>').format(Markup("").join(runs))


def prompt_markup(text: str) -> Markup:
    """A template's text with X for its gap."""
    return Markup("<var>X</var>").join(Markup.escape(part) for part in text.split("{}"))
