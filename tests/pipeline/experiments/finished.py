"""A finished run of a toy model, on which experiments are tried."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.main import main
from tests.plots import blank_plots

TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


def finished_run(folder: Path, model: Path, relations: dict[str, Any], *run: str) -> list[str]:
    """Run these relations; return the flags of the run, for the relation `toy`.

    Args:
        run: the names of those that are run.
    """
    (folder / "toy.yaml").write_text(yaml.safe_dump({"templates": TEXTS, "relations": relations}))
    options = {
        "--model": model,
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--subjects-count": 60,
        "--store": folder / "run.zarr",
        "--cluster-kind": "serial",
    }
    flags = [str(part) for option in options.items() for part in option]
    with blank_plots():
        assert main(["run", *flags, "--relations", ",".join(run), "--json"]) == 0
    return flags
