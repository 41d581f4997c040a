"""The examples of CONTRIBUTING.md are true: they run against the code, in the files that they name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lincorr.relations.catalogue import load_catalogue
from lincorr.solvers.spectrum import spectrum

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLES = {
    path: text
    for path, text in re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
}


def run(path: str) -> dict[str, Any]:
    """The names that an example defines."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(EXAMPLES[path], path, "exec"), names)
    return names


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_short_and_lands_in_a_room(path: str) -> None:
    assert (ROOT / path).parent.is_dir()
    assert len([line for line in EXAMPLES[path].splitlines() if line]) <= 12


def test_the_relation_is_one_of_a_catalogue(tmp_path: Path) -> None:
    file = tmp_path / "further.yaml"
    file.write_text(EXAMPLES["lincorr/relations/shipped/further.yaml"], "utf-8")
    relation = load_catalogue([file]).relation("city-anthem")
    assert ("Tokyo", "Japan") in relation.truth
    assert "Japan" in relation.target.answers


def test_the_solver_decomposes() -> None:
    source = np.random.default_rng(0).normal(size=(40, 6))
    found = run("lincorr/solvers/qr.py")["qr_spectrum"](source, 0.0)
    expected = spectrum(source, noise=0.0)
    np.testing.assert_allclose(found.values, expected.values)
    rows = found.left * found.values @ found.right.T
    np.testing.assert_allclose(rows, source - found.mean, atol=1e-12)


def test_the_metric_is_that_of_its_name() -> None:
    metric = run("lincorr/scores/absolute.py")["mean_absolute_error"]
    found = metric(np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[0.0, 2.0], [0.0, 5.0]]))
    np.testing.assert_array_equal(found, [2.0, 1.5])


def test_the_cluster_writes_a_job_script() -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from dask_jobqueue.pbs import PBSJob

    from pipeline.config import ClusterSettings

    names = run("pipeline/runtime/clusters/pbs.py")
    names["PBSCluster"] = lambda **options: PBSJob("tcp://10.0.0.1:8786", name="w", **options)
    job = names["open_pbs"](
        ClusterSettings(queue="long", memory="64GB"), {"distributed.worker.daemon": False}
    )
    script = job.job_script()
    assert "#PBS -q long" in script
    assert "export DASK_INTERNAL_INHERIT_CONFIG=" in script


def test_the_setting_is_described() -> None:
    section = run("pipeline/config/sections.py")["ReportSettings"]
    assert section(title="Cities").title == "Cities"
    assert section.model_fields["title"].description
