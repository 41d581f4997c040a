"""A relation's page: hostile text stays text, nothing is loaded, anything may be missing."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.write import write_report
from tests.pipeline.report.documents import (
    Page,
    make_asked,
    make_document,
    make_fit,
    make_relation,
    make_results,
    results,
)


def emptied(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """The same with every figure unknown, and every list but those named empty."""
    keep = (*keep, "seconds", "interval", "hubs")  # these figures are always known
    if isinstance(value, dict):
        return {k: v if k in keep else emptied(v, keep) for k, v in value.items()}
    if isinstance(value, list):
        return []
    return None if isinstance(value, float) else value


@pytest.fixture(scope="module", params=["city-country.html", "report.html"])
def every_text(folder: Path, request: pytest.FixtureRequest) -> str:
    """The page of a relation, then the index."""
    return (folder / str(request.param)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def every_page(every_text: str) -> Page:
    return Page(every_text)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


class TestPage:
    def test_tags_balance(self, every_page: Page) -> None:
        assert every_page.unbalanced == []
        assert every_page.open == []

    def test_token_text_is_never_markup(self, page: Page, text: str) -> None:
        assert page.tags("script") == ["script"]
        assert page.tags("img", "b", "toy", "plain") == []
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "<script>alert(1)</script>" in "".join(page.words)

    def test_token_text_in_drawings_is_escaped(self, text: str) -> None:
        drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
        weights = [svg for svg in drawings if "Heat map" in svg or "Strongest links" in svg]
        assert len(drawings) == 1 + 2 + 1 + 1
        assert len(weights) == 2
        assert all("&lt;script&gt;" in svg for svg in weights)
        assert not any("<script" in svg or "<img" in svg for svg in drawings)

    def test_nothing_invisible_is_left(self, every_text: str) -> None:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\ud800]", every_text)

    def test_nothing_is_loaded(self, every_page: Page, every_text: str) -> None:
        assert every_page.tags("link", "iframe", "object", "embed", "audio", "video", "base") == []
        for address in every_page.attributes("src") + every_page.attributes("href"):
            assert re.fullmatch(r"#[\w-]+|[\w-]+\.(html|png|json|csv)", address), address
        assert "@import" not in every_text
        assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", every_text))
        assert "http://" not in every_text
        assert every_text.count("https://") == every_text.count(
            "https://example.org/x"
        )  # the token's every_text

    def test_links_lead_somewhere(self, every_page: Page, folder: Path) -> None:
        ids = every_page.attributes("id")
        assert len(ids) == len(set(ids))
        for address in every_page.attributes("href"):
            inside = address.startswith("#")
            assert address[1:] in ids if inside else (folder / address).is_file(), address
        for attribute in ("aria-labelledby", "clip-path"):
            for value in every_page.attributes(attribute):
                assert value.removeprefix("url(#").removesuffix(")") in ids

    def test_headings_are_in_order(self, every_page: Page) -> None:
        levels = [int(tag[1]) for tag in every_page.tags("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))

    def test_plots_have_descriptions_and_follow_the_theme(self, page: Page, text: str) -> None:
        drawings = [attrs for tag, attrs in page.elements if tag == "svg"]
        assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in drawings)
        assert "currentColor" in text
        assert "#0a0b" not in text
        assert "font-family:'" not in text

    def test_right_targets_are_marked_without_colour(self, text: str) -> None:
        right = re.findall(r'<li class="right">.*?</li>', text)
        assert right
        assert "W of the fit vocabulary columns, ridge, rows centred." in text
        assert all("✓" in item and "true:" in item for item in right)

    def test_minus_signs_and_missing_numbers(self, page: Page) -> None:
        words = "".join(page.words)
        assert "−0.250" in words
        assert "0.807" in words
        assert "0.807 ±" not in words
        assert "⚠ only to rank 151" in words
        shown = words.partition('"use strict"')[0]
        assert not re.search(r"\b(nan|None|inf|null)\b", shown)

    def test_what_r_is_worth_is_shown(self, page: Page, text: str) -> None:
        assert page.tags("i", "u") == []
        words = " ".join("".join(page.words).split())
        assert "95 % interval over subjects 0.791 to 0.824" in words
        row = re.search(r'<table class="sortable worth".*?<tbody>.*?</tr>', text, flags=re.DOTALL)
        assert row is not None
        cells = re.findall(r'<td class="number[^>]*>([^<]*)</td>', row[0])
        assert cells[2:] == ["–", "0.772", "–", "−0.01 ± 0.09", "0.365", "0.757", "0.410"]
        assert '>0.84<small class="ends">0.83–0.85</small></td>' in row[0]
        assert "given to all, reaches 0.64, and the most frequent token 0.61." in words
        assert "the same tokens after another prompt, X likes the <i>food</i> of" in words
        assert "⚠ only 50 <u>subjects</u> are held out" in words
        assert "by chance 0.01 0.03 0.06" in words

    @pytest.mark.usefixtures("unplotted")
    def test_hubs_stand_beside_chance(self, page: Page, text: str, tmp_path: Path) -> None:
        table = re.search(r'aria-label="Hubs of.*?</table>', text, flags=re.DOTALL)
        assert table is not None
        cells = re.findall(r'<td class="number[^>]*>([^<]*)</td>', table[0])
        assert cells == [*(cell for n in range(7) for cell in (str(7 - n), "0")), "0.232", "4"]
        relation = make_relation()
        relation["fits"] = [fit | {"hits": None} for fit in relation["fits"]]
        unknown = write_report(make_results(relation), tmp_path).read_text(encoding="utf-8")
        assert (">right</span>" in table[0], ">right</span>" in unknown) == (True, False)
        relation["hubs"] = {}
        page_without = write_report(make_results(relation), tmp_path)
        assert "Hubs" not in page_without.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_what_the_model_says_stands_beside_the_share_that_w_says(self, tmp_path: Path) -> None:
        asked = {"asked": make_asked(0.1, 0.25)}
        pages = make_relation() | asked, make_relation("other")
        write_report(make_results(*pages), tmp_path)
        page = Page((tmp_path / "city-country.html").read_text(encoding="utf-8"))
        words = " ".join("".join(page.words).split())
        assert "<script>alert(1)</script> X is in" in words
        assert "Ur & <b> → Iraq 0.25 0.50 0.75 0.12 40 0.50" in words
        assert "the best of 4 readings, which the truth chose, has hit@1 0.25. Of that, W says" in words
        assert "domain columns, ridge: 20 %," in words  # .05 of .25
        assert "the best of 2 readings, which the truth chose, has hit@1 0.50." in words
        assert "asked outright" not in (tmp_path / "other.html").read_text(encoding="utf-8")
        index = (tmp_path / "report.html").read_text(encoding="utf-8")
        rows = re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", index, flags=re.DOTALL)[:2]
        assert [re.findall(r"<td[^>]*>([^<]*)</td>", row)[-3] for row in rows] == ["0.25", "–"]

    @pytest.mark.usefixtures("unplotted")
    def test_without_another_prompt_the_page_says_how_to_get_one(self, tmp_path: Path) -> None:
        page = write_report(make_results(make_relation() | {"other_prompt": None}), tmp_path)
        text = page.read_text(encoding="utf-8")
        assert "other prompt" not in text
        assert "a second relation in the run" in text

    @pytest.mark.usefixtures("unplotted")
    def test_score_over_all_outputs_is_shown_where_there_is_one(self, text: str, tmp_path: Path) -> None:
        assert ">r, all<" in text
        relation = make_relation()
        for fit in relation["fits"]:
            fit["r_all"] = fit["spearman_sample"] = None
        page = write_report(make_results(relation), tmp_path)
        assert ">r, all<" not in page.read_text(encoding="utf-8")
        assert ">Spearman, all<" not in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_one_answer_is_no_plural(self, tmp_path: Path) -> None:
        relation = make_relation() | {"fits": [make_fit("domain", ["a"])]}
        page = Page(write_report(make_results(relation), tmp_path).read_text(encoding="utf-8"))
        assert "mean held-out r over 1 output column; 95 % interval" in "".join(page.words)

    @pytest.mark.usefixtures("unplotted")
    def test_one_relation_is_the_report(self, tmp_path: Path) -> None:
        page = write_report(make_results(make_relation()), tmp_path)
        text = page.read_text(encoding="utf-8")
        assert '<h2 id="fits">' in text
        assert "All relations" not in text
        assert not (tmp_path / "city-country.html").exists()


@pytest.mark.parametrize(
    "document",
    [
        make_document(),
        emptied(make_document()),
        emptied(make_document(make_relation()), keep=("relations",)),
        make_document(emptied(make_relation())),
        make_document(make_relation() | {"fits": []}),
        make_document(make_relation() | {"fits": [emptied(make_fit("domain", []))]}),
        make_document(make_relation() | {"fits": [make_fit("vocabulary-ridge", ["a"]) | {"hits": None}]}),
    ],
    ids=["none", "empty", "bare", "bare-relation", "no-fits", "bare-fit", "no-truth"],
)
def test_any_figure_may_be_missing(document: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(results(document), tmp_path).read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert page.open == []
