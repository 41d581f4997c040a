"""Other systems, as far as this one shows them: no fork, fcntl, /proc or signal masks; paths with spaces."""

import shutil
import subprocess
import sys
from pathlib import Path

from lincorr.store.store import LogitStore
from tests.elsewhere import environment
from tests.pipeline.cli.toy import write_catalogue

RUN = """
import importlib, pkgutil, sys
import lincorr, pipeline
from pipeline.cli.main import main
from tests.plots import blank_plots
names = [m.name for p in (lincorr, pipeline) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
assert len(names) > 100, names
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
with blank_plots():
    for verb, kind, count in (("extract", "local", "30"), ("run", "serial", "60")):
        more = ["--cluster-kind", kind, "--cluster-workers", "1", "--subjects-count", count]
        assert main([verb, *sys.argv[1:], *more]) == 0
"""


def test_a_run_needs_nothing_of_linux(tmp_path: Path, toy_model: Path) -> None:
    """Everything imports; `local` extracts half of the subjects, `serial` the others and the rest."""
    folder = tmp_path / "my runs é"
    model = folder / "a model"
    shutil.copytree(toy_model, model)
    write_catalogue(folder / "my catalogue.yaml")
    command = [sys.executable, "-c", RUN, "--model", str(model), "--relations", "toy"]
    command += ["--catalogue", "my catalogue.yaml", "--store", "a store.zarr"]
    variables = environment(folder / "no posix")
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True)
    said = done.stderr.decode("cp1252")
    assert done.returncode == 0, said
    assert "held-out score" in done.stdout.decode("cp1252")
    assert LogitStore.open(str(folder / "a store.zarr")).subjects().ids.size == 60
    assert (folder / "a store-report" / "report.html").exists()
