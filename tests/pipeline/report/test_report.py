"""The report: hostile text stays text, nothing is loaded, every file is whole and readable."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.pages.format import count, fixed, moment, short
from pipeline.report.plots.bipartite import Link, bipartite_plot, links_of
from pipeline.report.plots.path import _decade
from pipeline.report.plots.text import label, visible
from pipeline.report.plots.weights import weight_map
from pipeline.report.write import write_report

HOSTILE = [
    " <script>alert(1)</script>",
    '"><img src="https://example.org/x">',
    " & ]]> -- \n\r\t\x00\x1b",
    "\u200f\u202eabc\ufffd\ud800",
    "$x^{2}$ \\frac",
    "",
]
FITS = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")
CHANCE = {"1": 0.011, "3": 0.033, "5": 0.055}
VOID = {"meta", "br", "img", "link", "input", "hr"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def make_fit(name: str, tokens: list[str]) -> dict[str, Any]:
    ridge = name.endswith("ridge")
    points = [(0.001, None), (0.003, "best"), (0.01, "reading")]
    return {
        "name": name,
        "label": f"{name.partition('-')[0]} columns, {'ridge' if ridge else 'least squares'}",
        "source_columns": 151,
        "target_columns": len(tokens),
        "method": "direct",
        "reason": "it is small",
        "root_penalty": 0.01 if ridge else 0.0,
        "rank": 151,
        "sigma_1": 3480.1,
        "sigma_r": 0.5,
        "sigma_next": None,
        "noise_floor": 0.001,
        "identified": ridge,
        "normal_residual": 1e-15,
        "min_norm_residual": float("inf"),
        "r": 0.807,
        "r_std": float("nan"),
        "r_low": 0.791,
        "r_high": 0.824,
        "r2": -0.25,
        "spearman": 0.772,
        "r_all": 0.8125 if name.startswith("vocabulary") else None,
        "spearman_sample": 0.761 if name.startswith("vocabulary") else None,
        "sampled_outputs": 512 if name.startswith("vocabulary") else None,
        "r_shuffled": -0.013,
        "r_shuffled_std": 0.088,
        "r_mean_logit": 0.365,
        "r_other_prompt": 0.757,
        "r_unrelated": 0.41,
        "r_by_target": [{"token": t, "r": 0.5 + n / 20, "spearman": 0.4} for n, t in enumerate(tokens)],
        "hits": {
            "influenced target": {"1": 0.05, "3": 0.1, "5": 0.14, "of": 42, "chance": CHANCE},
            "influencing source": {"1": 0.2, "3": 0.3, "5": None, "of": 30, "chance": CHANCE},
        },
        "path": [
            {"root_penalty": x, "loo_r": 0.87, "r": 0.8, "hit1": 0.3, "hit5": None, "chosen": c}
            for x, c in points
        ]
        if ridge
        else [],
    }


def make_relation(name: str = "city-country") -> dict[str, Any]:
    sources, targets = [" Tokyo", *HOSTILE], [" Japan", *HOSTILE]
    links = [{"token": t, "weight": 0.3 - n / 10, "right": n == 0} for n, t in enumerate(targets)]
    size = len(sources)
    return {
        "name": name,
        "family": "attribute",
        "source": {
            "template": "city",
            "text": "{} lives in the <b>city</b> of",
            "columns": 151,
            "answers": 188,
            "dropped": 37,
            "coverage": {"whole": 120, "phrase": 40, "subword": 28},
        },
        "target": {
            "template": "country",
            "text": "{} lives in the country of",
            "columns": 7,
            "answers": 252,
            "dropped": 86,
        },
        "interval": {"of": "mean r", "level": 0.95, "replicates": 400, "rows": 500},
        "unrelated_pair": {
            "relation": "gem-color",
            "template": "gem",
            "text": "{} has the <i>color</i> of",
        },
        "identity": {"r": 0.31, "r_std": 0.2, "columns": 6},
        "other_prompt": {
            "relation": "city-food",
            "template": "food",
            "text": "{} likes the <i>food</i> of",
        },
        "warnings": ["only 50 <u>subjects</u> are held out"],
        "fits": [make_fit(fit, targets) for fit in FITS],
        "strongest": [
            {
                "source": source,
                "truth": [" Japan"],
                "by_fit": {"domain": links[:5], "vocabulary-ridge": []},
            }
            for source in sources
        ],
        "hubs": {
            "domain": {
                "top": 5,
                "sources": 151,
                "targets": 7,
                "expected": 35 / 151,
                "bound": 4,
                "hubs": [{"token": token, "targets": 7 - n, "right": 0} for n, token in enumerate(sources)],
            }
        },
        "heatmap": {
            "fit": "vocabulary-ridge",
            "sources": sources,
            "targets": targets,
            "weights": [[(row - col) / 10 for col in range(size)] for row in range(size)],
            "right": [[row == col for col in range(size)] for row in range(size)],
        },
    }


def make_document(*relations: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "city-country on <toy>",
        "created": "2026-11-23T20:40:00Z",
        "versions": {"lincorr": "0.1.0"},
        "machine": "2 cores",
        "model": {
            "source": "package:toy",
            "revision": None,
            "fingerprint": "abc",
            "dtype": "float32",
            "device": "cpu",
            "head": "linear",
        },
        "store": "runs/x.zarr",
        "seconds": {"extract": 19.1, "fit": None},
        "subjects": {
            "from": "vocabulary",
            "count": 1000,
            "fit": 500,
            "test": 500,
            "split": "grouped",
            "seed": 0,
            "classes": {"text": 1000},
            "left_out": {},
        },
        "notes": ["a <plain> sentence"],
        "relations": list(relations),
    }


def emptied(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """The same shape with every number None and every list but those named empty."""
    if isinstance(value, dict):
        return {k: v if k in keep else emptied(v, keep) for k, v in value.items()}
    if isinstance(value, list):
        return []
    return None if isinstance(value, int | float) else value


class Page(HTMLParser):
    """What a page holds: its elements, and the first end tag that closes nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def tags(self, *names: str) -> list[str]:
        return [tag for tag, _ in self.elements if tag in names]

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    write_report(make_document(make_relation(), make_relation("../city country")), folder)
    return folder


@pytest.fixture
def unplotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots: they take most of the time."""
    for plot in ("bipartite_plot", "path_plot", "pearson_plot", "weights_plot"):
        monkeypatch.setattr(f"pipeline.report.pages.relation.{plot}", lambda *_: None)


PAGES = ("report.html", "city-country.html", "city-country-2.html")


@pytest.fixture(scope="module", params=["city-country.html", "report.html"])
def every_text(folder: Path, request: pytest.FixtureRequest) -> str:
    """The page of a relation, then the index."""
    return (folder / request.param).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def every_page(every_text: str) -> Page:
    return Page(every_text)


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "city-country.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def index(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


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
        assert all("✓" in item and "true:" in item for item in right)

    def test_minus_signs_and_missing_numbers(self, page: Page) -> None:
        words = "".join(page.words)
        assert "−0.250" in words
        assert "0.807 ± –" in words
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
        assert cells[2:] == ["0.772", "–", "−0.01 ± 0.09", "0.365", "0.757", "0.410"]
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
        del relation["hubs"]  # scores that an earlier version kept
        page_without = write_report(make_document(relation), tmp_path)
        assert "Hubs" not in page_without.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_without_another_prompt_the_page_says_how_to_get_one(self, tmp_path: Path) -> None:
        page = write_report(make_document(make_relation() | {"other_prompt": None}), tmp_path)
        text = page.read_text(encoding="utf-8")
        assert "other prompt" not in text
        assert "a second relation in the run" in text

    @pytest.mark.usefixtures("unplotted")
    def test_score_over_all_outputs_is_shown_where_there_is_one(self, text: str, tmp_path: Path) -> None:
        assert ">r, all<" in text
        relation = make_relation()
        for fit in relation["fits"]:
            fit["r_all"] = fit["spearman_sample"] = None
        page = write_report(make_document(relation), tmp_path)
        assert ">r, all<" not in page.read_text(encoding="utf-8")
        assert ">Spearman, all<" not in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_one_relation_is_the_report(self, tmp_path: Path) -> None:
        write_report(make_document(make_relation(), make_relation("b")), tmp_path)
        page = write_report(make_document(make_relation()), tmp_path)
        text = page.read_text(encoding="utf-8")
        assert '<h2 id="fits">' in text
        assert "All relations" not in text
        assert not (tmp_path / "city-country.html").exists()  # of the report before


class TestIndex:
    def test_a_row_for_each_relation_has_its_fits_side_by_side(self, index: str) -> None:
        table = re.search(r"<table.*?</table>", index, flags=re.DOTALL)
        assert table is not None
        rows = re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", table[0], flags=re.DOTALL)
        assert len(rows) == 2
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", rows[0])
        assert cells == ["attribute", *["0.807", "0.05", "0.14"] * 4, "151 of 188", "7 of 252"]

    def test_each_fit_has_both_directions(self, index: str) -> None:
        tables = re.findall(r"<table.*?</table>", index, flags=re.DOTALL)[1:-2]
        assert len(tables) == len(FITS)
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", tables[0].partition("<tbody>")[2])
        assert cells[1:5] == ["0.807 ± –", "0.791 to 0.824", "−0.01", "0.757"]
        assert cells[5:15] == ["0.05", "0.10", "0.14", "0.01", "42", "0.20", "0.30", "–", "0.01", "30"]

    def test_coverage_is_shown_where_it_was_counted(self, index: str, text: str) -> None:
        sides = re.findall(r"<caption>(Source|Target)</caption>.*?<tbody>(.*?)</tr>", index, flags=re.DOTALL)
        cells = {side: re.findall(r'<td class="number[^>]*>([^<]*)</td>', row) for side, row in sides}
        assert cells == {
            "Source": ["188", "151", "120", "40", "28"],
            "Target": ["252", "7", "–", "–", "–"],
        }
        assert "37 dropped (120 whole, 40 phrase, 28 subword)" in text
        assert "86 dropped</dd>" in text

    def test_it_leads_to_every_relation_and_back(self, folder: Path, index: str) -> None:
        pages = [Page((folder / name).read_text(encoding="utf-8")) for name in PAGES]
        assert set(PAGES[1:]) <= set(pages[0].attributes("href"))
        assert {"report.html", "city-country-2.html"} <= set(pages[1].attributes("href"))
        assert {"report.html", "city-country.html"} <= set(pages[2].attributes("href"))
        assert "<svg" not in index

    @pytest.mark.usefixtures("unplotted")
    def test_a_study_is_part_of_it(self, tmp_path: Path) -> None:
        parts = ("families", "matrices", "paraphrases", "paper", "growth", "growth_by_family")
        study = {part: [] for part in parts} | {"generalisation": None}
        page = write_report(make_document(make_relation()) | {"study": study}, tmp_path)
        assert 'href="city-country.html"' in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_a_relation_may_bear_the_name_of_the_index(self, tmp_path: Path) -> None:
        page = write_report(make_document(make_relation("report"), make_relation("b")), tmp_path)
        assert 'href="report-2.html"' in page.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("unplotted")
    def test_forty_relations_make_a_page_of_tables(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pipeline.report.processes.FEW", 41)  # no plots are drawn in this process only
        relations = [make_relation(f"relation {number}") for number in range(40)]
        page = write_report(make_document(*relations), tmp_path)
        assert len(list(tmp_path.glob("relation-*.html"))) == 40
        assert page.stat().st_size < 400_000


class TestFiles:
    def test_json_is_strict_and_whole(self, folder: Path) -> None:
        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        text = (folder / "report.json").read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=refuse)
        fit = document["relations"][0]["fits"][0]
        assert fit["r_std"] is None
        assert fit["min_norm_residual"] is None
        assert [row["token"] for row in fit["r_by_target"]] == [" Japan", *HOSTILE]

    def test_scores_have_a_row_for_each_relation_and_fit(self, folder: Path) -> None:
        rows = read_csv(folder / "scores.csv")
        assert [row["fit"] for row in rows] == [*FITS, *FITS]
        assert rows[0]["relation"] == "city-country"
        assert float(rows[0]["r"]) == 0.807
        assert rows[0]["r_std"] == ""
        assert float(rows[0]["influenced_target_hit@5"]) == 0.14
        assert rows[0]["influencing_source_of"] == "30"
        assert [row["r_all"] for row in rows[:4]] == ["", "", "0.8125", "0.8125"]
        assert [row["sampled_outputs"] for row in rows[:4]] == ["", "", "512", "512"]
        controls = ("r_low", "r_high", "r_shuffled", "r_shuffled_std", "r_mean_logit", "r_other_prompt")
        assert [float(rows[0][name]) for name in controls] == [0.791, 0.824, -0.013, 0.088, 0.365, 0.757]
        assert (rows[0]["other_prompt"], rows[0]["influencing_source_chance@5"]) == ("food", "0.055")

    def test_links_hold_the_exact_tokens(self, folder: Path) -> None:
        rows = read_csv(folder / "links.csv")
        assert len(rows) == 2 * 7 * 5
        first = rows[0]
        assert (first["source"], first["target"], first["rank"]) == (" Tokyo", " Japan", "1")
        assert (first["right"], json.loads(first["truth"])) == ("True", [" Japan"])
        assert [row["target"] for row in rows[1:4]] == HOSTILE[:3]

    def test_plots_are_png_named_by_relation(self, folder: Path) -> None:
        names = {path.name for path in folder.glob("*.png")}
        plots = ("bipartite", "path", "pearson", "weights")
        keys = ("city-country", "city-country-2")
        assert names == {f"{key}-{plot}.png" for key in keys for plot in plots}
        for path in folder.glob("*.png"):
            assert path.read_bytes().startswith(PNG_SIGNATURE)

    def test_nothing_else_is_left(self, folder: Path) -> None:
        others = {path.name for path in folder.iterdir() if path.suffix != ".png"}
        assert others == {*PAGES, "report.json", "scores.csv", "links.csv"}

    def test_equal_documents_give_equal_files(self, folder: Path, tmp_path: Path) -> None:
        write_report(make_document(make_relation(), make_relation("../city country")), tmp_path)
        for path in folder.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_processes_side_by_side_write_the_same_files(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pipeline.report.processes.FEW", 1)
        write_report(make_document(make_relation(), make_relation("../city country")), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
        for path in folder.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_a_failed_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_report(make_document(), tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def fail(*_: object) -> None:
            raise OSError("killed")

        monkeypatch.setattr("pipeline.report.write.os.replace", fail)
        with pytest.raises(OSError, match="killed"):
            write_report(make_document(make_relation()), tmp_path)
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert {name: after[name] for name in before} == before
        assert not [name for name in after if name.endswith(".partial")]

    def test_a_plot_with_nothing_to_show_is_removed(self, tmp_path: Path) -> None:
        write_report(make_document(make_relation()), tmp_path)
        relation = make_relation() | {"heatmap": None}
        page = write_report(make_document(relation), tmp_path)
        assert not (tmp_path / "city-country-weights.png").exists()
        assert "city-country-weights.png" not in page.read_text(encoding="utf-8")


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
def test_anything_may_be_missing(document: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(document, tmp_path).read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert page.open == []


def test_pyplot_stays_out() -> None:
    """Importing pyplot would choose a backend for the user's whole session."""
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams.copy())\n"
        "from pipeline.report.plots.pearson import pearson_plot\n"
        "fit = {'name': 'domain', 'label': 'x', 'r': 0.5, 'r_by_target': [{'r': 0.5}]}\n"
        "assert pearson_plot({'fits': [fit]}, 'k').png\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams.copy()) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Tokyo", "·Tokyo"),
        (" New York ", "·New York·"),
        ("a\nb", "a⏎b"),
        ("\t", "⇥"),
        ("\x00", "⟨U+0000⟩"),
        ("\u200f", "⟨U+200F⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("\u0301", "◌\u0301"),
        ("\ufffd", "\ufffd"),
        ("  ", "··"),
        ("", "∅"),
        ("x" * 40, "x" * 17 + "…"),
    ],
)
def test_token_text_is_made_visible(token: str, shown: str) -> None:
    assert label(token) == shown
    if len(token) < 18:
        assert "".join(run for run, _ in visible(token)) == shown


def test_numbers() -> None:
    assert [fixed(v) for v in (None, -0.0001, -0.5, 1)] == ["–", "0.000", "−0.500", "1.000"]
    assert short(1.26e-15, 2) == "1.3 × 10⁻¹⁵"
    assert short(3480.123, 4) == "3480"
    assert short(123456.0) == "123\u202f456"
    assert short(-0.01) == "−0.01"
    assert short(0.0) == "0"
    assert count(49152) == "49\u202f152"
    assert [_decade(v) for v in (1.0, 0.01, 1e-5)] == ["1", "0.01", "10⁻⁵"]


def test_moment_is_in_words() -> None:
    assert moment("2026-11-23T20:40:00Z") == "23 November 2026, 20:40 UTC"
    assert moment("2026-11-23T22:40:00+02:00") == "23 November 2026, 20:40 UTC"
    assert moment("yesterday") == "yesterday"
    assert moment(None) == "–"


def test_links_of_known_sources_are_right_or_not_and_others_neither() -> None:
    links = [{"token": f"t{n}", "weight": 0.5 - n, "right": n == 1} for n in range(4)]
    relation = {
        "strongest": [
            {"source": "known", "truth": ["t1"], "by_fit": {"domain": links, "vocabulary-ridge": []}},
            {"source": "other", "truth": [], "by_fit": {"domain": [links[0] | {"weight": 2.0}]}},
            *({"source": f"s{n}", "truth": [], "by_fit": {"domain": links}} for n in range(50)),
        ]
    }
    drawn = links_of(relation, "domain")
    assert drawn[0] == Link("other", "t0", 2.0, None)
    known = [link for link in drawn if link.source == "known"]
    assert known == [Link("known", "t0", 0.5, False), Link("known", "t1", -0.5, True)]
    assert len({link.source for link in drawn}) == 24
    assert links_of(relation, "vocabulary-ridge") == []


def test_right_and_wrong_links_differ_in_more_than_colour() -> None:
    relation = make_relation()
    relation["strongest"] = relation["strongest"][:1]
    plot = bipartite_plot(relation, "key")
    assert plot is not None
    lines = re.findall(r"<title>([^<]*)</title><path d=\"[^\"]*\" style=\"([^\"]*)\"", plot.svgs[0])
    assert [("(true)" in words, "dasharray" in style) for words, style in lines] in (
        [(False, True), (True, False)],
        [(True, False), (False, True)],
    )
    widths = {"true" in w: float(re.search(r"stroke-width:([\d.]+)", s)[1]) for w, s in lines}  # type: ignore[index]
    assert widths[True] > widths[False]  # the weight of the true one is greater


def test_a_large_map_keeps_true_pairs_and_says_so() -> None:
    size = 200
    shown = weight_map(
        {
            "sources": [f"s{n}" for n in range(size)],
            "targets": [f"t{n}" for n in range(size)],
            "weights": [[float(col == 150) for col in range(size)] for _ in range(size)],
            "right": [[row == 0 and col == 199 for col in range(size)] for row in range(size)],
        }
    )
    assert shown is not None
    assert {"t150", "t199"} <= set(shown.targets)
    assert len(shown.weights) == len(shown.sources) == 40
    assert len(shown.weights[0]) == len(shown.targets) == 48
    assert "40 of 200 sources" in shown.left_out
    assert math.isclose(shown.largest, 1.0)
