"""Numbers, times and token text as a page shows them."""

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from lincorr.scores.relation_scores import FitScores
from lincorr.scores.study import FamilyFit
from pipeline.report.plots.text import MISSING, signed, visible


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals; never a negative zero."""
    return MISSING if value is None else signed(value, digits)


def spread(mean: float | None, std: float | None, digits: int = 3) -> str:
    """A mean and the standard deviation around it; a mean of one has none."""
    return fixed(mean, digits) + ("" if std is None else f" ± {fixed(std, digits)}")


def interval(fit: FitScores | FamilyFit) -> str:
    """Both ends of the mean r's interval."""
    return MISSING if fit.r_low is None else f"{fixed(fit.r_low)} to {fixed(fit.r_high)}"


def percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f} %"


def sort_value(value: Any) -> str:
    """The value that the page's script sorts by; empty for a missing one, which is sorted last."""
    return "" if value is None else str(value)


def moment(text: str | None) -> str:
    """A time stamp in words, in UTC; other text is returned unchanged."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return text or MISSING
    if when.tzinfo is None:
        return f"{when.day} {when:%B %Y, %H:%M}"
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def token_markup(text: str) -> Markup:
    """Token text, escaped and isolated from its surroundings, with invisible characters made visible."""
    runs = (
        Markup('<span class="unseen">{}</span>').format(run) if symbol else Markup.escape(run)
        for run, symbol in visible(text)
    )
    return Markup('<bdi class="token">{}</bdi>').format(Markup("").join(runs))


def prompt_markup(text: str) -> Markup:
    """A template's text with X for its slot."""
    return Markup("<var>X</var>").join(Markup.escape(part) for part in text.split("{}"))
