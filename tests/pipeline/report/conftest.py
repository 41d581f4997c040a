"""A report that several files read, written once."""

from pathlib import Path

import pytest

from pipeline.report.write import write_report
from tests.pipeline.report.documents import make_relation, make_results


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(make_results(make_relation(), make_relation("../city country")), folder)
    return folder


@pytest.fixture
def unplotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots: they take most of the time."""
    for plot in ("bipartite_plot", "path_plot", "pearson_plot", "weights_plot"):
        monkeypatch.setattr(f"pipeline.report.pages.relation.{plot}", lambda *_: None)


@pytest.fixture(scope="session")
def text(folder: Path) -> str:
    return (folder / "city-country.html").read_text(encoding="utf-8")
