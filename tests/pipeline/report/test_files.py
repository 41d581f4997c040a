"""The files of a report are whole and readable."""

import csv
import io
import json
from pathlib import Path

import pytest

from pipeline.report.write import table_csv, write_report
from tests.pipeline.report.documents import FITS, HOSTILE, PAGES, make_relation, make_results

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


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
        assert [rows[0][f"influenced_target_hit@1_{end}"] for end in ("low", "high")] == ["0.01", "0.12"]
        assert rows[0]["influencing_source_hit@1_low"] == ""
        assert rows[0]["influencing_source_of"] == "30"
        assert [row["r_all"] for row in rows[:4]] == ["", "", "0.8125", "0.8125"]
        assert [row["sampled_outputs"] for row in rows[:4]] == ["", "", "512", "512"]
        assert [row["faithfulness_all_constant"] for row in rows[:4]] == ["", "", "0.61", "0.61"]
        assert [rows[0][f"faithfulness{end}"] for end in ("", "_low", "_mean")] == ["0.84", "0.83", "0.64"]
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

    def test_a_spreadsheet_computes_no_cell(self) -> None:
        cells = ["=1+1", "＝1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", " =1", "", "Tokyo"]
        text = table_csv(["token", "weight"], [{"token": cell, "weight": -0.5} for cell in cells]).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        inert = [f"'{cell}" for cell in cells[:7]]
        assert [row["token"] for row in rows] == [*inert, " =1", "", "Tokyo"]
        assert {row["weight"] for row in rows} == {"-0.5"}  # a number stays one

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
        write_report(make_results(make_relation(), make_relation("../city country")), tmp_path)
        for path in folder.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_processes_side_by_side_write_the_same_files(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pipeline.report.processes.FEW", 1)
        write_report(make_results(make_relation(), make_relation("../city country")), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
        for path in folder.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_a_plot_with_nothing_to_show_is_not_written(self, tmp_path: Path) -> None:
        empty = {"fit": "domain", "sources": [], "targets": [], "weights": [], "right": []}
        relation = make_relation() | {"heatmap": empty}
        page = write_report(make_results(relation), tmp_path)
        assert not (tmp_path / "city-country-weights.png").exists()
        assert "city-country-weights.png" not in page.read_text(encoding="utf-8")
