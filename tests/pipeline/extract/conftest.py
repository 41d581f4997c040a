"""An extraction to which nothing happened, made once."""

from pathlib import Path

import pytest
import yaml

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.extract.extraction import SHARD_ROWS, SUBJECTS, TEMPLATES, extract_here


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's own files: a catalogue, and strings of several lengths in tokens."""
    folder = tmp_path_factory.mktemp("faults")
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    catalogue = {"templates": TEMPLATES, "relations": {"toy": relation}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    words = [f"{a} {b}{c}" for b in COUNTRIES for c in ("", "!", " in Rome") for a in CITIES]
    (folder / "subjects.txt").write_text("\n".join(words[:SUBJECTS]))
    return folder


@pytest.fixture(scope="session")
def flags(folder: Path, toy_model: Path) -> list[str]:
    """Many small shards, so that a run can be killed in its middle."""
    options = {
        "--model": toy_model,
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--subjects-kind": "strings",
        "--subjects-file": folder / "subjects.txt",
        "--store-shard-rows": SHARD_ROWS,
        "--cluster-batch-tokens": 128,
        "--cluster-threads": 1,  # in every worker, however many there are; see `extract_here`
    }
    return [str(part) for option in options.items() for part in option]


@pytest.fixture(scope="session")
def undisturbed(folder: Path, flags: list[str]) -> Path:
    """The store of a run in one process to which nothing happened."""
    store = folder / "undisturbed.zarr"
    extract_here(store, flags)
    return store
