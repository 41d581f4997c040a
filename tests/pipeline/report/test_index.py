"""The index of a report."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lincorr.scores.study import EditedFit, EditedRelation, Generalisation, RankCorrelations
from lincorr.scores.wordings import Wording, Wordings
from pipeline.report.write import write_report
from pipeline.study.study import study_of
from tests.pipeline.report.documents import (
    FITS,
    PAGES,
    Page,
    make_document,
    make_relation,
    make_results,
    results,
    scores,
)


@pytest.fixture(scope="module")
def index(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def cells_of(table: str) -> list[str]:
    """The cells of figures; intervals, which stand below hit rates, in brackets."""
    cells = re.findall(r"<td[^>]*>(.*?)</td>", table)
    return [re.sub(r'<small class="ends">(.*)</small>', r" (\1)", cell) for cell in cells]


class TestIndex:
    def test_a_row_for_each_relation_has_its_fits_side_by_side(self, index: str) -> None:
        table = re.search(r"<table.*?</table>", index, flags=re.DOTALL)
        assert table is not None
        rows = re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", table[0], flags=re.DOTALL)
        assert len(rows) == 2
        cells = cells_of(rows[0])
        shares = ["0.05 (0.01–0.12)", "0.14 (0.06–0.25)"]
        assert cells == ["attribute", *["0.807", *shares] * 4, "151 of 188", "7 of 252"]

    def test_each_fit_has_both_directions(self, index: str) -> None:
        tables = re.findall(r"<table.*?</table>", index, flags=re.DOTALL)[1:-2]
        assert len(tables) == len(FITS)
        cells = cells_of(tables[0].partition("<tbody>")[2])
        assert cells[1:5] == ["0.807", "0.791 to 0.824", "−0.01", "0.757"]
        assert cells[5:15] == [
            *("0.05 (0.01–0.12)", "0.10 (0.04–0.19)", "0.14 (0.06–0.25)", "0.01", "42"),
            *("0.20", "0.30", "–", "0.01", "30"),
        ]

    def test_coverage_is_shown(self, index: str, text: str) -> None:
        sides = re.findall(r"<caption>(Source|Target)</caption>.*?<tbody>(.*?)</tr>", index, flags=re.DOTALL)
        cells = {side: re.findall(r'<td class="number[^>]*>([^<]*)</td>', row) for side, row in sides}
        assert cells == {
            "Source": ["188", "151", "120", "40", "28"],
            "Target": ["252", "7", "150", "16", "86"],
        }
        assert "151 columns for 188 answers: 120 whole, 40 phrase, 28 subword" in text
        assert "columns for 252 answers: 150 whole, 16 phrase, 86 subword</dd>" in text

    def test_it_leads_to_every_relation_and_back(self, folder: Path, index: str) -> None:
        pages = [Page((folder / name).read_text(encoding="utf-8")) for name in PAGES]
        assert set(PAGES[1:]) <= set(pages[0].attributes("href"))
        assert {"report.html", "city-country-2.html"} <= set(pages[1].attributes("href"))
        assert {"report.html", "city-country.html"} <= set(pages[2].attributes("href"))
        assert "<svg" not in index

    @pytest.mark.usefixtures("unplotted")
    def test_a_study_is_part_of_it(self, tmp_path: Path) -> None:
        parts = ("families", "matrices", "paraphrases", "paper", "growth", "growth_by_family")
        study: dict[str, Any] = {**{part: [] for part in parts}, "generalisation": None}
        page = write_report(results(make_document(make_relation()) | {"study": study}), tmp_path)
        assert 'href="city-country.html"' in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_relations_and_wordings_may_have_other_fits(self, tmp_path: Path) -> None:
        """As where some are so large that they are solved by another method."""
        edited = [
            EditedRelation(name, 0.5, 0.1, 9, {fit: EditedFit(0.25, 0.75)})
            for name, fit in (("a", "domain"), ("b", "vocabulary-ridge"))
        ]
        rho = RankCorrelations(0, None, None, None, None, None)
        found = Generalisation(tuple(edited), {"domain": rho, "vocabulary-ridge": rho})
        wordings = Wordings(
            "city-country",
            (Wording("city-country", "{} a", "{} b", {"domain": 0.5}), Wording("x.2", "{} c", "{} d", {})),
            chosen="city-country",
        )
        page = write_report(
            replace(
                make_results(make_relation()),
                study=replace(study_of([scores(make_relation())]), generalisation=found),
                wordings=(wordings,),
            ),
            tmp_path,
        ).read_text(encoding="utf-8")
        table = page.partition('aria-labelledby="generalisation-title">')[2].partition("</table>")[0]
        rows = [cells_of(row)[-6:] for row in table.partition("<tbody>")[2].split("</tr>")[:2]]
        assert rows == [
            ["0.50", "0.10", "0.25", "0.750", "–", "–"],
            ["0.50", "0.10", "–", "–", "0.25", "0.750"],
        ]

    @pytest.mark.usefixtures("unplotted")
    def test_a_relation_may_bear_the_name_of_the_index(self, tmp_path: Path) -> None:
        page = write_report(make_results(make_relation("report"), make_relation("b")), tmp_path)
        assert 'href="report-2.html"' in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_forty_relations_make_a_page_of_tables(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pipeline.report.processes.FEW", 41)  # no plots are drawn in this process only
        relations = [make_relation(f"relation {number}") for number in range(40)]
        page = write_report(make_results(*relations), tmp_path)
        assert len(list(tmp_path.glob("relation-*.html"))) == 40
        assert page.stat().st_size < 400_000
