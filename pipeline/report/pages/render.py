"""Templates -> HTML text. Jinja escapes every value but those of type Markup."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lincorr.scores.relation_scores import COVERAGES, DIRECTIONS, INFLUENCED_TARGET, RANKS
from lincorr.scores.results import Results
from pipeline.report.folder import INDEX
from pipeline.report.pages import format as words
from pipeline.report.pages.index import Entry, IndexView
from pipeline.report.pages.relation import MAX_COLUMN_ROWS, RelationView
from pipeline.report.plots.text import count, counted, label, short


def relation_page(results: Results, view: RelationView, among: tuple[Sequence[Entry], int] | None) -> str:
    """The page of one relation; `among` is all relations and its position, for the links between pages."""
    pages = None
    if among is not None:
        entries, at = among
        after = entries[at + 1] if at + 1 < len(entries) else None
        pages = {"index": INDEX, "before": entries[at - 1] if at else None, "after": after}
    template = _environment().get_template("relation.html.jinja")
    return template.render(results=results, view=view, pages=pages)


def index_page(results: Results, view: IndexView) -> str:
    """The index page, which links to the pages of all relations."""
    template = _environment().get_template("index.html.jinja")
    return template.render(results=results, view=view)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "token": words.token_markup,
        "fixed": words.fixed,
        "spread": words.spread,
        "interval": words.interval,
        "short": short,
        "count": count,
        "counted": counted,
        "percent": words.percent,
        "moment": words.moment,
        "prompt": words.prompt_markup,
        "sort": words.sort_value,
        "word": lambda text: label(text.strip(), 60),
        "svg": Markup,  # our own drawing, in which every text is escaped
    }
    environment.globals |= {
        "directions": DIRECTIONS,
        "ranks": RANKS,
        "influenced": INFLUENCED_TARGET,
        "coverages": COVERAGES,
        "most_rows": MAX_COLUMN_ROWS,
    }
    return environment
