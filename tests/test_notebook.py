"""The notebook runs from top to bottom, on the real small model."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "walkthrough.ipynb"


@pytest.mark.real_model
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_the_notebook_runs(real_model: str, tmp_path: Path) -> None:
    shutil.copy(NOTEBOOK, tmp_path)
    notebook = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    settings = notebook.cells[1].source
    assert real_model in settings
    assert '"1000"' in settings
    notebook.cells[1].source = settings.replace('"1000"', '"200"')  # subjects: the same cells, sooner
    where = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where)
    client.execute()  # raises on the first cell that fails
    assert any(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())
    )
