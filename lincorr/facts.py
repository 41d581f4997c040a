"""A few facts about a value as a small HTML table, for notebooks; every text is escaped."""

from collections.abc import Sequence
from html import escape

from lincorr.visible import visible


def facts_html(title: str, facts: Sequence[tuple[str, str]], warning: str | None = None) -> str:
    """Return a table of names and what they stand for, under a title and above a warning, if there is one."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{_text(name)}</th>'
        f'<td style="text-align:left">{_text(fact)}</td></tr>'
        for name, fact in facts
    )
    warned = "" if warning is None else f"<p><strong>⚠ {_text(warning)}</strong></p>"
    caption = f'<caption style="text-align:left">{_text(title)}</caption>'
    return f"<table>{caption}<tbody>{rows}</tbody></table>{warned}"


def _text(text: str) -> str:
    return escape(visible(text))
