"""A model that is a configuration alone, and a small run."""

import json
from pathlib import Path

import pytest
import yaml

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.plan.configurations import LLAMA_3_8B, TEXTS


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but Llama-3-8B's config.json."""
    folder = tmp_path_factory.mktemp("llama-3-8b")
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B))
    return folder


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path) -> dict[str, str]:
    """A small run of the toy model, all tasks in this process."""
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }
    catalogue = {"templates": TEXTS, "relations": {"toy": relation}}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    return {
        "model.source": str(toy_model),
        "model.dtype": "float32",
        "catalogue": str(tmp_path / "toy.yaml"),
        "relations": "toy",
        "subjects.count": "150",
        "store.path": str(tmp_path / "run.zarr"),
        "store.shard_rows": "64",
        "cluster.kind": "serial",
        "cluster.batch_tokens": "256",
    }
