"""What maps and stores show of themselves at a prompt and in a notebook."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from lincorr.facts import facts_html
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, Factors, LinearMap
from lincorr.testing import hidden_problem, planted_store

MAP = LinearMap(
    np.arange(2000),
    np.arange(3),
    np.zeros((2000, 3)),
    np.zeros(3),
    Diagnosis("direct", "", 40, Cut(7, 0.1, 0.1, 9.0, 1.0, 0.5), 0.0, 0.0, 0.0, 0.0),
)


class _Text(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_every_text_is_escaped():
    shown = _Text(facts_html("<script>", [("<b>", "a & b\x1b")], "<i>"))
    assert shown.tags == {"table", "caption", "tbody", "tr", "th", "td", "p", "strong"}
    assert shown.text.split("\n")[:3] == ["<script>", "<b>", "a & b\\x1b"]
    assert "⚠ <i>" in shown.text


def test_a_map_is_one_line_and_a_small_table():
    assert repr(MAP) == "<LinearMap 2,000 x 3: direct, √λ/σ₁ 0, rank 7>"
    shown = _Text(MAP._repr_html_()).text
    assert "2,000 sources x 3 targets, dense" in shown
    assert "direct, of 40 rows" in shown
    assert "W is not identified beyond rank 7" in shown
    ridge = replace(MAP, diagnosis=replace(MAP.diagnosis, penalty=1.0, root_penalty=0.0123))
    assert "⚠" not in ridge._repr_html_()
    assert "0.0123" in ridge._repr_html_()
    factors = Factors(np.zeros((2000, 5)), np.zeros((5, 6)), np.zeros((3, 6)))
    assert "factors around a core 5 x 6" in replace(MAP, weights=factors)._repr_html_()


def test_a_store_shows_its_model_templates_and_maps(tmp_path):
    store = planted_store(str(tmp_path / "<b>.zarr"), hidden_problem(40, 4, 6, 5))
    assert repr(store) == f"<LogitStore '{tmp_path}/<b>.zarr': 'planted', 40 subjects>"
    shown = _Text(store._repr_html_())
    assert "b" not in shown.tags
    assert "planted, in float64" in shown.text
    assert "'{} source': 100 % extracted" in shown.text
    store.maps.save("toy", "domain", MAP, "digest")
    assert "maps of toy\ndomain" in _Text(store._repr_html_()).text
