"""A plot as inline SVG for the page and as a PNG for a paper.

A plot is a function from a palette to a `Figure`. For PNG the palette holds real colours; for
SVG it holds sentinel colours, which `to_svg` replaces by CSS variables, so that one drawing
follows the reader's light or dark theme. `pyplot` and its global state are never used.
"""

import io
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure


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


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its drawings for the page, side by side, and the PNG that shows all of them."""

    svgs: tuple[str, ...]
    png: bytes


def _fonts() -> list[str]:
    """DejaVu Sans (always there), then the installed fonts for other scripts."""
    wanted = ["Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Microsoft YaHei"]
    wanted += ["Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Arial Unicode MS"]
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(font for font in wanted if font in installed)]


@contextmanager
def _style(palette: Palette, salt: str) -> Iterator[None]:
    """Matplotlib's defaults with a few changes, independent of the user's settings."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a user's usetex or dark style must not reach the report
        # The page draws text with the reader's fonts; only a PNG can miss a rare glyph.
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
    """Keep only the ids that are referred to, with this figure's key as prefix."""
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
    """Remove namespaces, line breaks, fixed fonts and sentinel colours."""
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


def hue_of(fit: str, palette: Palette) -> str:
    """Return the hue of a fit's basis, the same in every plot."""
    return palette.vocabulary if fit.startswith("vocabulary") else palette.domain
