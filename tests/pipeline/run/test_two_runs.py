"""Two runs with different relations on one store: one after the other."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from tests.pipeline.cli.toy import TEXTS

PAUSED = (
    "import sys\n"
    "from pipeline import run\n"
    "from pipeline.cli.main import main\n"
    "fit = run.Run.fit\n"
    "def paused(self):\n"
    "    print('between', flush=True)\n"
    "    sys.stdin.readline()\n"
    "    return fit(self)\n"
    "run.Run.fit = paused\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path, blank_plots: None) -> list[str]:
    answers = {"city": list(CITIES), "country": list(COUNTRIES), "land": list(COUNTRIES)}

    def relation(source: str, target: str) -> dict[str, object]:
        ends = {"source": source, "target": target}
        return {side: {"template": name, "answers": answers[name]} for side, name in ends.items()}

    relations = {"there": relation("city", "country"), "elsewhere": relation("city", "land")}
    templates = TEXTS | {"land": "{} lives in the land of"}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({"templates": templates, "relations": relations}))
    options = {
        "--model": toy_model,
        "--catalogue": tmp_path / "toy.yaml",
        "--subjects-count": 40,
        "--store": tmp_path / "run.zarr",
        "--cluster-kind": "serial",
        "--cluster-batch-tokens": 128,
        "--report-folder": tmp_path / "page",
    }
    return ["run", *(str(part) for option in options.items() for part in option)]


def test_a_run_of_other_relations_waits_for_its_turn_also_between_the_verbs_of_the_first(
    flags, tmp_path, capsys
):
    command = [sys.executable, "-c", PAUSED, *flags, "--relations", "there", "--json"]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "between\n"  # all is extracted, nothing fitted
    store = str(tmp_path / "run.zarr")
    other = [*flags, "--relations", "elsewhere", "--json"]
    assert main(other) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: store.path: {store!r} is being written by another run, "
        f"{socket.gethostname()}:{first.pid} (host:process); wait for it, or name another store"
    )
    assert {template.name for template in LogitStore.open(store).templates()} == {"city", "country"}
    first.communicate("\n")
    assert first.returncode == 0

    assert main(other) == 0
    done = LogitStore.open(store)
    assert done.verify() == []
    assert done.maps.relations() == done.maps.scored() == ["elsewhere", "there"]
