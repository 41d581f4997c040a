"""The bar for speed: what a benchmark prints, beside the tables of benchmarks/README.md."""

import io
import sys
from typing import Any

import pytest

from benchmarks import check
from benchmarks.extraction import print_precisions, print_table

WAY = "prefix trees, Dask workers, Zarr store"
README_TEXT = check.README.read_text("utf-8")


def extraction_row(share: float, times: float = 25.0, way: str = WAY) -> dict[str, Any]:
    return {
        "way": way,
        "ms_per_prompt": 3.0,
        "times_notebook": times,
        "gflops": 270.0,
        "share_of_peak": share,
        "waited": 0.0,
        "audit": 0.01,
        "worker_bytes": 1e9,
        "all_in_seconds": 40.0,
    }


def checked(text: str, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as end:
        check.main()
    return end.value.code


@pytest.mark.parametrize(("of_readme", "code"), [(1.3, 0), (0.85, 0), (0.75, 1)])
def test_a_ratio_below_the_bar_is_told(
    of_readme: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = next(
        float(cells[heading.index("of peak")].rstrip("%")) / 100
        for heading, cells in check.table_rows(README_TEXT)
        if cells[0] == WAY
    )
    print_table([extraction_row(published * of_readme, times=1e6)])
    assert checked(capsys.readouterr().out, monkeypatch) == code
    said = capsys.readouterr().out
    assert ("slower" in said) == (code == 1)
    assert f"{code} of 2 ratios are below 80%" in said


def test_what_a_peer_takes_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = "Hugging Face: padded batches of 64, all logits"
    assert any(cells[0] == peer for _, cells in check.table_rows(README_TEXT))
    print_table([extraction_row(0.01, 0.01, way=peer)])
    assert checked(capsys.readouterr().out, monkeypatch) == 2
    assert "no ratio of a table" in capsys.readouterr().err


def test_precisions_are_told_apart_by_all_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "precision": dtype,
            "ends_only": ends,
            "ms_per_prompt": 6.0,
            "times_float32": times,
            "peak_gflops": 200.0,
            "difference": 0.06,
        }
        for dtype, ends, times in (("float32", True, 1.1), ("bfloat16", False, 1.9), ("bfloat16", True, 2.0))
    ]
    print_precisions(rows)
    found = check.ratios(capsys.readouterr().out)
    assert {key[1]: value for key, value in found.items()} == {
        "float32, at ends only": 1.1,
        "bfloat16, everywhere": 1.9,
        "bfloat16, at ends only": 2.0,
    }
    assert found.keys() <= check.ratios(README_TEXT).keys()


def test_numbers_are_read_as_they_are_written() -> None:
    table = (
        "| way | of peak | times per column |\n| --- | ---: | ---: |\n| lincorr direct | 71% | 1,024.5 |\n"
    )
    assert sorted(check.ratios(table).values()) == [0.71, 1024.5]
    assert check.ratios(table + table.replace("71%", ".80")) == check.ratios(table)  # the first counts
