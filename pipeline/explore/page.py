"""The page of one browser tab: two texts that Bokeh carries, what is asked and what is answered.

What is seen is plain HTML, made by page.js: marks on a canvas can neither be focused nor read aloud.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cache
from importlib.resources import files
from typing import Any

from bokeh.core.properties import String
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.model import DataModel

from lincorr.errors import in_one_line
from lincorr.scores.documents import from_json, to_json
from pipeline.explore.answer import answer
from pipeline.explore.opened import OpenedStore
from pipeline.explore.questions import Answer, Found, Question, Refusal
from pipeline.report.plots.text import visible
from pipeline.report.write import table_csv

_COLUMNS = (
    "store",
    "relation",
    "fit",
    "root_penalty",
    "reading",
    "asked",
    "rank",
    "token",
    "weight",
    "right",
)


class Exchange(DataModel):
    """What is exchanged with a tab, as JSON."""

    asked = String(default="")
    answered = String(default="")


def open_page(stores: Sequence[OpenedStore], worker: Executor) -> Callable[[Document], None]:
    """Return the function with which Bokeh's server opens a tab.

    Args:
        worker: one thread in which everything is answered, in the order in which it was asked.
    """

    def opened(document: Document) -> None:
        exchange = Exchange(name="exchange")
        document.add_root(exchange)
        document.title = "lincorr explore"
        document.template = _template()
        document.template_variables["stores"] = json.dumps(
            [to_json(store.name()) for store in stores]
        ).replace("<", "\\u003c")

        async def reply() -> None:
            asked = str(exchange.asked)
            text = await asyncio.get_running_loop().run_in_executor(worker, reply_to, stores, asked)
            exchange.update(answered=text)

        def asked(attr: str, old: str, new: str) -> None:
            document.add_next_tick_callback(reply)  # type: ignore[arg-type]  # it awaits coroutines

        exchange.on_change("asked", asked)

    return opened


def reply_to(stores: Sequence[OpenedStore], asked: str) -> str:
    """Return the reply to a message: JSON with its number, and answers or suggestions."""
    message = json.loads(asked)
    reply: dict[str, Any] = {"number": message["number"]}
    try:
        if "suggest" in message:
            question = from_json(Question, message["suggest"])
            reply["suggested"] = _shown(stores[question.store].suggest(question))
        else:
            questions = [from_json(Question, one) for one in message["questions"]]
            reply["answers"] = [_panel(stores, answer(stores, question)) for question in questions]
    except Exception as problem:  # a tab that waits must be told
        reply["failed"] = in_one_line(problem)
    return json.dumps(reply)


def _panel(stores: Sequence[OpenedStore], found: Answer | Refusal) -> dict[str, Any]:
    shown: dict[str, Any] = to_json(found)
    if isinstance(found, Refusal):
        return shown | {"near": _shown(found.near)}
    return shown | {
        "shown": visible(found.text),
        "links": [to_json(link) | {"shown": visible(link.text)} for link in found.links],
        "right": [to_json(link) | {"shown": visible(link.text)} for link in found.right],
        "csv": _csv(stores[found.question.store], found),
    }


def _shown(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": text, "shown": visible(text)} for text in texts]


def _csv(store: OpenedStore, found: Answer) -> str:
    question = found.question
    known = {
        "store": store.name().name,
        "relation": question.relation,
        "fit": question.fit,
        "root_penalty": found.root_penalty,
        "reading": "centred" if question.centred else "as fitted",
        "asked": f"{'sources' if question.target else 'targets'} of {found.text}",
    }

    def row(link: Found) -> dict[str, Any]:
        return known | {"rank": link.rank, "token": link.text, "weight": link.weight, "right": link.right}

    return table_csv(_COLUMNS, map(row, found.links)).decode()


@cache
def _template() -> Any:
    """The page, with its style and its script in it: it loads nothing but Bokeh's own script."""
    folder = files("pipeline.explore")
    html = (folder / "page.html").read_text("utf-8")
    for name in ("page.css", "page.js"):
        html = html.replace(
            f"<!--{name}-->", "{% raw %}" + (folder / name).read_text("utf-8") + "{% endraw %}"
        )
    return get_env().from_string(html)
