"""A whole study, made once."""

from pathlib import Path

import pytest
import yaml

from lincorr.store.store import LogitStore
from pipeline.study import study
from tests.pipeline.study.toy_study import (
    CATALOGUE,
    COUNTS,
    RELATIONS,
    SUBJECTS,
    Study,
    keep_edits,
    run_study,
    study_alone,
)


@pytest.fixture(autouse=True)
def _small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth by as many subjects as the toy model has words for."""
    monkeypatch.setattr(study, "COUNTS", COUNTS)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Study:
    """A whole study with growth, only to be read."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "toy.yaml").write_text(yaml.safe_dump(CATALOGUE))
    options = {
        "model": toy_model,
        "catalogue": folder / "toy.yaml",
        "relations": ",".join(RELATIONS),
        "store": folder / "run.zarr",
        "cluster-kind": "serial",
        "subjects-count": SUBJECTS,
        "store-shard-rows": 32,
        "cluster-batch-tokens": 64,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "COUNTS", COUNTS)
        study_alone(flags)
        keep_edits(LogitStore.open(str(folder / "run.zarr"), write=True))
        return Study(folder, flags, run_study([*flags, "--compare-paper"]))
