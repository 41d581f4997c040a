"""The three plots of a relation, each as inline SVG for the page and as a PNG for a paper.

A plot is a function from a palette to a `Figure`. For PNG the palette holds real colours; for
SVG it holds sentinel colours, which `to_svg` replaces by CSS variables, so that one drawing
follows the reader's light or dark theme. `pyplot` and its global state are never used.
"""

import io
import math
import unicodedata
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

Json = Mapping[str, Any]
"""A JSON object of the results document."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour that a plot may use; the names are those of the page's CSS variables."""

    ink: str
    muted: str
    rule: str
    domain: str
    vocabulary: str
    positive: str
    negative: str


PRINTED = Palette("#1d1f24", "#666a73", "#d9d9d4", "#b26a24", "#2b64a6", "#14776a", "#8d4a9e")
SENTINELS = Palette(*(f"#0a0b{number:02x}" for number in range(1, 8)))
STYLED = {
    colour: f"var(--{field.name})" for colour, field in zip(astuple(SENTINELS), fields(Palette), strict=True)
} | {SENTINELS.ink: "currentColor"}

Draw = Callable[[Palette], Figure]

MAX_SOURCES, MAX_TARGETS = 40, 48
"""A larger map could no longer be read; the page says when cells were left out."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its drawings for the page, side by side, and the PNG that shows all of them."""

    svgs: tuple[str, ...]
    png: bytes


# --- token text -----------------------------------------------------------------------------

SYMBOLS = {"\n": "⏎", "\t": "⇥"}
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def visible(text: str) -> list[tuple[str, bool]]:
    """Split token text into runs (shown text, whether it stands for something invisible).

    The shown text has no control, format or surrogate characters, and no blank but single
    spaces inside, so that it cannot reorder or break what surrounds it.
    """
    if not text:
        return [("∅", True)]
    start, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    shown = [
        ("·", True) if char == " " and not start <= at < end else _visible_char(char)
        for at, char in enumerate(text)
    ]
    if unicodedata.combining(text[0]):
        shown.insert(0, ("◌", True))  # else the accent would land on the character before
    return [
        ("".join(char for char, _ in run), symbol) for symbol, run in groupby(shown, key=lambda pair: pair[1])
    ]


def _visible_char(char: str) -> tuple[str, bool]:
    if char in SYMBOLS:
        return SYMBOLS[char], True
    if char != " " and unicodedata.category(char) in HIDDEN_CATEGORIES:
        return f"⟨U+{ord(char):04X}⟩", True
    return char, False


def label(text: str, longest: int = 18) -> str:
    """Token text for a plot: visible, one line, at most `longest` characters."""
    shown = "".join(run for run, _ in visible(text))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def minus(text: str) -> str:
    """The text with real minus signs; for numbers only."""
    return text.replace("-", "−")


def _decade(value: float, _: object = None) -> str:
    """0.01, 0.1, 1; powers of ten below that: short labels that need no mathematical text."""
    if value >= 1e-3:
        return f"{value:g}"
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "10" + f"{math.floor(math.log10(value) + 0.5)}".translate(superscript)


# --- figures --------------------------------------------------------------------------------


def _fonts() -> list[str]:
    """DejaVu Sans (always there), then whichever installed fonts know other scripts."""
    wanted = ["Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Microsoft YaHei"]
    wanted += ["Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Arial Unicode MS"]
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(font for font in wanted if font in installed)]


@contextmanager
def _style(palette: Palette, salt: str) -> Iterator[None]:
    """Matplotlib's own defaults with our few changes, whatever the user's settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a user's usetex or dark style must not reach the report
        # The page draws text with the reader's fonts; only a PNG can lack a rare glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcParams.update(
            {
                "font.family": _fonts(),
                "font.size": 9,
                "axes.titlesize": 9,
                "axes.labelsize": 9,
                "axes.linewidth": 0.6,
                "axes.edgecolor": palette.muted,
                "axes.labelcolor": palette.muted,
                "axes.facecolor": "none",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "grid.color": palette.rule,
                "grid.linewidth": 0.6,
                "text.color": palette.ink,
                "text.parse_math": False,  # a token may hold dollar signs
                "xtick.color": palette.muted,
                "ytick.color": palette.muted,
                "xtick.major.size": 3,
                "ytick.major.size": 0,
                "xtick.major.width": 0.6,
                "legend.fontsize": 8.5,
                "legend.frameon": False,
                "lines.linewidth": 1.4,
                "svg.fonttype": "none",
                "svg.hashsalt": salt,
            }
        )
        yield


def to_png(draw: Draw) -> bytes:
    """The figure on white at 200 dots per inch."""
    buffer = io.BytesIO()
    with _style(PRINTED, "png"):
        figure = draw(PRINTED)
        figure.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(draw: Draw, key: str, description: str, tooltips: Mapping[str, str] | None = None) -> str:
    """The figure as an SVG element for an HTML page; the same input gives the same text.

    Every id in it starts with `key`, no colour, font or address is fixed, and `description` is
    its label. `tooltips` maps the gid of an artist to the words shown over it.
    """
    buffer = io.BytesIO()
    with _style(SENTINELS, key):
        figure = draw(SENTINELS)
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    for child in [child for child in root if child.tag.endswith(("metadata", "defs"))]:
        # Not the clip paths: only what matplotlib says about itself, and a style for "*",
        # which inline would hold for the whole page.
        if child.tag.endswith("metadata") or child.find("{*}style") is not None:
            root.remove(child)
    _add_tooltips(root, tooltips or {})
    _make_ids_unique(root, key)
    for element in root.iter():
        _make_inline(element)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    root.attrib.clear()
    root.attrib |= {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": description,
        "stroke-linejoin": "round",
        "style": f"--natural: {width:.0f}px",
    }
    return ET.tostring(root, encoding="unicode")


def _add_tooltips(root: ET.Element, tooltips: Mapping[str, str]) -> None:
    for element in list(root.iter()):
        if (words := tooltips.get(element.get("id", ""))) is not None:
            title = ET.Element("title")
            title.text = words
            element.insert(0, title)


def _make_ids_unique(root: ET.Element, key: str) -> None:
    """Keep only the ids that something refers to, and make them this figure's own."""
    referred = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href"):
                referred.add(value[1:])
                element.set(name, f"#{key}-{value[1:]}")
            elif name == "clip-path":
                referred.add(value[5:-1])
                element.set(name, f"url(#{key}-{value[5:-1]})")
    for element in root.iter():
        if (name := element.attrib.pop("id", "")) in referred:
            element.set("id", f"{key}-{name}")


def _make_inline(element: ET.Element) -> None:
    """Namespaces, line breaks, fixed fonts and sentinel colours: out."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    element.tail = None
    if element.text is not None and not element.text.strip() and len(element):
        element.text = None
    if "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))
    if "style" in element.attrib:
        pairs = (part.partition(":")[::2] for part in element.attrib["style"].split(";"))
        style = {name.strip(): value.strip() for name, value in pairs}
        style.pop("font-family", None)
        element.set("style", ";".join(f"{n}:{STYLED.get(v, v)}" for n, v in style.items()))


# --- what a fit looks like ------------------------------------------------------------------


def _hue(fit: Json, palette: Palette) -> str:
    """The hue says which source columns, in every plot."""
    return palette.vocabulary if fit["name"].startswith("vocabulary") else palette.domain


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _signed(value: float | None, digits: int) -> str:
    return "unknown" if value is None else minus(f"{value:.{digits}f}")


# --- histogram of r -------------------------------------------------------------------------


def pearson_plot(relation: Json, key: str) -> Plot | None:
    """Held-out Pearson r over the output columns: one histogram per fit on one axis."""
    scores = [_numbers([row["r"] for row in fit["r_by_target"]]) for fit in relation["fits"]]
    shown = [(fit, rs) for fit, rs in zip(relation["fits"], scores, strict=True) if rs]
    if not shown:
        return None
    description = "Histograms of held-out Pearson r over output columns, one for each fit."
    for fit, rs in shown:
        description += (
            f" {fit['label']}: {len(rs)} columns from {_signed(min(rs), 2)} to "
            f"{_signed(max(rs), 2)}, mean {_signed(fit['r'], 3)}."
        )

    def draw(palette: Palette) -> Figure:
        return _draw_pearson(shown, palette)

    return Plot((to_svg(draw, key, description),), to_png(draw))


def _draw_pearson(shown: Sequence[tuple[Json, list[float]]], palette: Palette) -> Figure:
    edges = _bin_edges([r for _, rs in shown for r in rs])
    figure = Figure((5, 0.5 + 0.72 * len(shown)), layout="constrained")
    rows = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (fit, rs) in zip(rows, shown, strict=True):
        counts = [0] * (len(edges) - 1)
        for r in rs:
            counts[min(int((r - edges[0]) / (edges[1] - edges[0])), len(counts) - 1)] += 1
        ridge = fit["name"].endswith("ridge")
        hue = _hue(fit, palette)
        axes.stairs(counts, edges, fill=True, color=hue, alpha=0.9 if ridge else 0.45, linewidth=0)
        _mark_mean(axes, fit, palette)
        axes.set_title(fit["label"], loc="left", color=palette.ink, pad=4)
        axes.spines.left.set_visible(False)
        axes.set_yticks([])
        axes.tick_params(length=0)
    rows[-1].tick_params(length=3)
    rows[-1].set_xlim(edges[0], edges[-1])
    rows[-1].xaxis.set_major_formatter(lambda value, _: minus(f"{value:.2g}"))
    rows[-1].set_xlabel("held-out Pearson r of an output column")
    return figure


def _mark_mean(axes: Axes, fit: Json, palette: Palette) -> None:
    if fit["r"] is None:
        return
    axes.axvline(fit["r"], color=palette.ink, linewidth=1)
    axes.set_title(f"mean {_signed(fit['r'], 3)}", loc="right", color=palette.muted, pad=4)


def _bin_edges(values: Sequence[float]) -> list[float]:
    """About forty equal bins on round numbers that hold every value."""
    low, high = math.floor(min(values) * 20) / 20, math.ceil(max(values) * 20) / 20
    high = max(high, low + 0.05)
    width = next(w for w in (0.0025, 0.005, 0.01, 0.02, 0.05) if (high - low) / w <= 45)
    count = max(1, round((high - low) / width))
    return [low + (high - low) * step / count for step in range(count + 1)]


# --- path of the penalty --------------------------------------------------------------------


def path_plot(relation: Json, key: str) -> Plot | None:
    """Prediction and reading along the penalty: one drawing per fit that has a path."""
    fits = [fit for fit in relation["fits"] if _path(fit)]
    if not fits:
        return None
    r_limits = _limits([row[name] for fit in fits for row in _path(fit) for name in ("loo_r", "r")])

    def drawing(some: Sequence[Json]) -> Draw:
        return lambda palette: _draw_path(some, r_limits, palette)

    svgs = tuple(
        to_svg(drawing([fit]), f"{key}-{number}", _describe_path(fit)) for number, fit in enumerate(fits)
    )
    return Plot(svgs, to_png(drawing(fits)))


def _path(fit: Json) -> list[Json]:
    """The points that a logarithmic axis can show, by penalty."""
    points = [row for row in fit["path"] if row["root_penalty"]]
    return sorted(points, key=lambda row: float(row["root_penalty"]))


def _limits(values: Sequence[float | None]) -> tuple[float, float]:
    known = _numbers(values) or [0.0, 1.0]
    margin = 0.06 * (max(known) - min(known)) or 0.05
    return min(known) - margin, max(known) + margin


def _describe_path(fit: Json) -> str:
    points = _path(fit)
    words = [f"Scores along the ridge penalty, {fit['label']}, {len(points)} penalties."]
    for name, why in (("reading", "Chosen for reading"), ("best", "Best leave-one-out r")):
        for row in points:
            if row["chosen"] == name:
                words.append(
                    f"{why}: √λ/σ₁ {row['root_penalty']:g}, held-out r {_signed(row['r'], 3)}, "
                    f"hit@1 {_signed(row['hit1'], 2)}, hit@5 {_signed(row['hit5'], 2)}."
                )
    return " ".join(words)


def _draw_path(fits: Sequence[Json], r_limits: tuple[float, float], palette: Palette) -> Figure:
    hits = any(row[name] is not None for f in fits for row in _path(f) for name in ("hit1", "hit5"))
    figure = Figure((5 * len(fits), 4 if hits else 2.5), layout="constrained")
    grid = figure.subplots(
        1 + hits, len(fits), sharex="col", squeeze=False, height_ratios=[1.15, 1][: 1 + hits]
    )
    for column, fit in enumerate(fits):
        _draw_r_path(grid[0, column], fit, palette)
        grid[0, column].set_ylim(*r_limits)
        if hits:
            _draw_hit_path(grid[1, column], fit, palette)
        bottom = grid[-1, column]
        bottom.set_xscale("log")
        bottom.xaxis.set_major_formatter(_decade)
        bottom.minorticks_off()
        bottom.set_xlabel("√λ / σ₁")
    return figure


def _draw_r_path(axes: Axes, fit: Json, palette: Palette) -> None:
    points = _path(fit)
    hue = _hue(fit, palette)
    _line(axes, points, "r", "held-out r", color=hue, marker="o", markersize=3.5)
    _line(axes, points, "loo_r", "leave-one-out r", color=hue, linestyle=(0, (3, 2)), linewidth=1)
    _mark_chosen(axes, points, palette)
    _finish_path_panel(axes, "Pearson r")
    axes.set_title(fit["label"], loc="left", color=palette.ink, pad=29)


def _draw_hit_path(axes: Axes, fit: Json, palette: Palette) -> None:
    points = _path(fit)
    hue = _hue(fit, palette)
    hollow = {"markerfacecolor": "none", "linewidth": 1.0}
    _line(axes, points, "hit1", "hit@1", color=hue, marker="o", markersize=3.5)
    _line(axes, points, "hit5", "hit@5", color=hue, marker="s", markersize=3.5, **hollow)
    _mark_chosen(axes, points, palette, named=False)
    _finish_path_panel(axes, "hit rate")
    axes.set_ylim(-0.03, 1.03)


def _line(axes: Axes, points: Sequence[Json], name: str, words: str, **style: Any) -> None:
    ys = [math.nan if row[name] is None else row[name] for row in points]
    if any(map(math.isfinite, ys)):
        axes.plot([row["root_penalty"] for row in points], ys, label=words, **style)


def _mark_chosen(axes: Axes, points: Sequence[Json], palette: Palette, *, named: bool = True) -> None:
    """Vertical lines that the legend names: labels beside them could hide a curve."""
    styles: tuple[tuple[str, str, Any], ...] = (
        ("reading", "λ for reading", "solid"),
        ("best", "λ of best leave-one-out r", (0, (1, 1.5))),
    )
    for name, words, dashes in styles:
        for row in points:
            if row["chosen"] == name:
                shown = words if named else "_"
                axes.axvline(
                    row["root_penalty"],
                    color=palette.ink,
                    linewidth=0.9,
                    linestyle=dashes,
                    label=shown,
                    zorder=1,
                )


def _finish_path_panel(axes: Axes, words: str) -> None:
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines.left.set_visible(False)
    axes.set_ylabel(words)
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=2,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=2.2,
            labelspacing=0.25,
            columnspacing=1.6,
        )


# --- map of the weights ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightMap:
    """The part of W that is drawn: `weights[row][column]` is from source row to target column."""

    sources: list[str]
    targets: list[str]
    weights: list[list[float | None]]
    right: list[list[bool]]
    left_out: str
    """What was left out to keep the map readable, as a sentence, or nothing."""

    @property
    def largest(self) -> float:
        """The greatest absolute weight; 1 where all are zero."""
        return max((abs(w) for row in self.weights for w in _numbers(row)), default=0.0) or 1.0


def weight_map(heatmap: Json | None) -> WeightMap | None:
    """The first sources, and of the targets those with right cells or the greatest weights."""
    if not heatmap or not heatmap["sources"] or not heatmap["targets"]:
        return None
    rows = range(min(len(heatmap["sources"]), MAX_SOURCES))
    weights, right = heatmap["weights"], heatmap["right"]

    def importance(column: int) -> tuple[bool, float]:
        greatest = max((abs(weights[row][column] or 0.0) for row in rows), default=0.0)
        return any(right[row][column] for row in rows), greatest

    ranked = sorted(range(len(heatmap["targets"])), key=importance, reverse=True)
    columns = sorted(ranked[:MAX_TARGETS])
    left_out = ""
    if len(rows) < len(heatmap["sources"]) or len(columns) < len(heatmap["targets"]):
        left_out = (
            f"Shown: {len(rows)} of {len(heatmap['sources'])} sources and {len(columns)} of "
            f"{len(heatmap['targets'])} targets, those with a true pair or the greatest weights; "
            "all are in report.json."
        )
    return WeightMap(
        [heatmap["sources"][row] for row in rows],
        [heatmap["targets"][column] for column in columns],
        [[weights[row][column] for column in columns] for row in rows],
        [[bool(right[row][column]) for column in columns] for row in rows],
        left_out,
    )


def weights_plot(relation: Json, key: str) -> Plot | None:
    """The strongest block of W: colour is sign and size, an outline is a true pair."""
    if (shown := weight_map(relation["heatmap"])) is None:
        return None
    cells = [
        (row, column, source, target)
        for row, source in enumerate(shown.sources)
        for column, target in enumerate(shown.targets)
    ]
    tooltips = {
        f"cell-{row}-{column}": f"{label(source, 60)} → {label(target, 60)}: "
        f"{_signed(shown.weights[row][column], 3)}{' (true)' if shown.right[row][column] else ''}"
        for row, column, source, target in cells
    }
    true = [(row, column) for row, column, *_ in cells if shown.right[row][column]]
    strongest = sum(_is_strongest(shown.weights[row], column) for row, column in true)
    description = (
        f"Heat map of {len(shown.sources)} sources by {len(shown.targets)} targets of W, weights "
        f"up to {_signed(shown.largest, 2)} either side of zero. {len(true)} cells are true pairs, "
        f"and {strongest} of them hold the greatest weight of their row."
    )

    def draw(palette: Palette) -> Figure:
        return _draw_weights(shown, palette)

    return Plot((to_svg(draw, key, description, tooltips),), to_png(draw))


def _is_strongest(row: Sequence[float | None], column: int) -> bool:
    weight = row[column]
    return weight is not None and weight == max(_numbers(row))


def _text_inches(words: str) -> float:
    """A generous estimate: the reader's font is not known here."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in words)
    return 0.08 * len(words) + 0.06 * wide


def _draw_weights(shown: WeightMap, palette: Palette) -> Figure:
    sources, targets = [label(s) for s in shown.sources], [label(t) for t in shown.targets]
    cell_w, cell_h = 0.3, 0.23
    left = 0.15 + max(map(_text_inches, sources))
    above = 0.15 + 0.85 * max(map(_text_inches, targets))
    across, down = cell_w * len(targets), cell_h * len(sources)
    right = max(0.95, 0.6 * _text_inches(targets[-1]))
    width, height = left + across + right, above + down + 0.1
    figure = Figure((width, height))
    axes = figure.add_axes((left / width, 0.1 / height, across / width, down / height))
    _draw_cells(axes, shown, palette)
    axes.set_yticks([row + 0.5 for row in range(len(sources))], sources, color=palette.ink)
    axes.set_xticks([column + 0.5 for column in range(len(targets))], targets, color=palette.ink)
    axes.tick_params(length=0, pad=3)
    axes.xaxis.tick_top()
    for tick in axes.get_xticklabels():
        tick.set(rotation=55, rotation_mode="anchor", ha="left", va="center")
    bar_height = min(1.5, down)
    bar = figure.add_axes(
        (
            (left + across + 0.3) / width,
            (0.1 + down - bar_height) / height,
            0.11 / width,
            bar_height / height,
        )
    )
    _draw_scale(bar, shown.largest, palette)
    return figure


def _draw_cells(axes: Axes, shown: WeightMap, palette: Palette) -> None:
    """Opacity over the background is the size, so zero is the page's own colour in any theme."""
    for row, weights in enumerate(shown.weights):
        for column, weight in enumerate(weights):
            if weight is None:
                axes.text(column + 0.5, row + 0.5, "–", ha="center", va="center")
                continue
            hue = palette.positive if weight >= 0 else palette.negative
            strength = round(abs(weight) / shown.largest, 3)
            cell = Rectangle((column, row), 1, 1, facecolor=hue, alpha=strength, linewidth=0)
            cell.set(gid=f"cell-{row}-{column}", clip_on=False)
            axes.add_patch(cell)
    for row, marks in enumerate(shown.right):
        for column, right in enumerate(marks):
            if right:
                inset = Rectangle((column + 0.06, row + 0.08), 0.88, 0.84, fill=False, zorder=3)
                inset.set(edgecolor=palette.ink, linewidth=1.1, clip_on=False)
                axes.add_patch(inset)
    axes.set_xlim(0, len(shown.targets))
    axes.set_ylim(len(shown.sources), 0)
    axes.spines[:].set(visible=True, color=palette.rule)


def _draw_scale(axes: Axes, largest: float, palette: Palette) -> None:
    steps = 20
    for step in range(-steps, steps):
        middle = (step + 0.5) / steps
        hue = palette.positive if middle > 0 else palette.negative
        axes.add_patch(Rectangle((0, step), 1, 1, facecolor=hue, alpha=round(abs(middle), 3), linewidth=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(-steps, steps)
    axes.set_xticks([])
    axes.set_yticks([-steps, 0, steps], [minus(f"{v:.2g}") for v in (-largest, 0.0, largest)])
    axes.yaxis.tick_right()
    axes.spines[:].set(visible=True, color=palette.rule)
    axes.set_title("weight", color=palette.muted, pad=8, loc="left")
