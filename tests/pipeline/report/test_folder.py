"""A report replaces its own files, and leaves the user's as they are."""

import os
from pathlib import Path

import pytest

from lincorr.errors import BadInput, LincorrError
from pipeline.report.folder import MANIFEST
from pipeline.report.names import require_report_folder
from pipeline.report.tables import write_results
from tests.pipeline.report.documents import make_relation, make_results

pytestmark = pytest.mark.usefixtures("unplotted")

TWO = make_results(make_relation(), make_relation("b"))
ONE = make_results(make_relation())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    mine = (
        "families.csv",
        "matrix.csv",
        "growth.parquet",
        "city-country.html",
        "city-country-map.png",
        "a.txt",
    )
    for name in mine:
        (tmp_path / name).write_text("mine")
    assert write_results(ONE, tmp_path) == tmp_path / "report.html"
    write_results(ONE, tmp_path)
    after = contents(tmp_path)
    assert {name for name, content in after.items() if content == b"mine"} == set(mine)


@pytest.mark.parametrize("name", ["scores.csv", "report.html", "links.parquet", "b.html"])
def test_a_file_of_the_user_in_the_way_is_refused_and_nothing_changes(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    for refused in (
        lambda: require_report_folder(tmp_path, ["city-country", "b"]),
        lambda: write_results(TWO, tmp_path),
    ):
        with pytest.raises(BadInput, match=rf"report.folder: '.*{name}' is not what a report wrote"):
            refused()
        assert contents(tmp_path) == {name: b"mine"}


def test_an_edited_report_is_the_users(tmp_path: Path) -> None:
    write_results(TWO, tmp_path)
    (tmp_path / "scores.csv").write_text("with notes")
    before = contents(tmp_path)
    with pytest.raises(BadInput, match="scores"):
        write_results(ONE, tmp_path)
    assert contents(tmp_path) == before


def test_a_link_in_the_way_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "thesis.html").write_text("mine")
    (tmp_path / "report" / "report.html").symlink_to(tmp_path / "thesis.html")
    with pytest.raises(BadInput, match="report"):
        write_results(ONE, tmp_path / "report")
    assert (tmp_path / "thesis.html").read_text() == "mine"


def test_files_of_the_last_report_are_replaced_or_removed(tmp_path: Path) -> None:
    write_results(TWO, tmp_path / "again")
    assert (tmp_path / "again" / "b.html").exists()
    write_results(ONE, tmp_path / "again")
    write_results(ONE, tmp_path / "once")
    assert contents(tmp_path / "again") == contents(tmp_path / "once")


@pytest.mark.parametrize("replaced", [0, 1, 3])
def test_an_interrupted_report_is_completed(
    replaced: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was cut off, no file of either report counts as the user's."""
    write_results(TWO, tmp_path / "again")
    replace, left = os.replace, [replaced]

    def cut_off(*paths: Path) -> None:
        if not left[0]:
            raise OSError("killed")
        left[0] -= 1
        replace(*paths)

    monkeypatch.setattr("pipeline.report.folder.os.replace", cut_off)
    with pytest.raises(LincorrError, match=r"report\.folder: .*again.*killed"):
        write_results(ONE, tmp_path / "again")
    monkeypatch.undo()
    write_results(ONE, tmp_path / "again")
    write_results(ONE, tmp_path / "once")
    assert contents(tmp_path / "again") == contents(tmp_path / "once")


def test_a_failure_while_writing_leaves_the_last_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(TWO, tmp_path)
    before = contents(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.report.tables.write_tables", full)
    with pytest.raises(LincorrError, match="No space left"):
        write_results(ONE, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", ["", "[]", '{"files": {"../thesis.html": 3}}', '{"files": 1}'])
def test_a_manifest_that_is_no_manifest_makes_nothing_ours(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "thesis.html").write_text("mine")
    (folder / "scores.csv").write_text("mine")
    (folder / MANIFEST).write_text(content)
    with pytest.raises(BadInput, match="scores"):
        require_report_folder(folder, ["city-country"])
    assert (tmp_path / "thesis.html").read_text() == "mine"


@pytest.mark.parametrize("folder", ["/dev/null/report", "/dev/null", "file", "file/below"])
def test_a_folder_that_cannot_be_is_refused_at_once(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match=r"report\.folder: .* cannot be written; name another"):
        require_report_folder(tmp_path / folder, ["city-country"])


@pytest.mark.parametrize("folder", ["run.zarr", "run.zarr/report"])
def test_a_folder_in_a_store_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / "run.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(BadInput, match=r"report\.folder: .* lies in the store"):
        require_report_folder(tmp_path / folder, ["city-country"])
