"""What a run imports before its workers do."""

import json
import subprocess
import sys

import pytest

from tests.pipeline.cli.toy import write_catalogue

SLOW = (
    *("torch", "transformers", "transformers.modeling_utils", "torch._dynamo", "scipy.stats"),
    *("matplotlib", "pyarrow", "xarray", "distributed"),
)
IMPORTED = """
import json, sys
from pipeline.cli.main import main
try:
    code = main(json.loads(sys.argv[1]))
except SystemExit as end:
    code = end.code
print(json.dumps([code, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def imported(code: str, arguments: list[str]) -> list[object]:
    """The exit code of a command, and which of the slow libraries it has imported."""
    command = [sys.executable, "-c", code, json.dumps(arguments), json.dumps(SLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "arguments", [["--help"], ["relations", "list"], ["show", "--store", "nowhere.zarr"]]
)
def test_small_verbs_import_nothing_slow(arguments):
    assert imported(IMPORTED, arguments)[1] == []


PREPARED = """
import json, sys
from pathlib import Path
from pipeline.config import load_config
from pipeline.run import Run
flags = dict(zip(*[iter(json.loads(sys.argv[1]))] * 2))
run = Run(load_config(None, flags, {}))
run.require_places()
plan = run.plan()
print(json.dumps([plan.prompts_needed, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def test_a_run_is_planned_without_model_code(toy_model, tmp_path):
    """Only `lincorr plan` counts the model's parameters, for an estimate of its time."""
    flags = {
        "model.source": str(toy_model),
        "model.device": "cpu",
        "catalogue": str(write_catalogue(tmp_path / "toy.yaml")),
        "relations": "toy",
        "subjects.count": "60",
        "store.path": str(tmp_path / "run.zarr"),
    }
    needed, slow = imported(PREPARED, [text for flag in flags.items() for text in flag])
    assert needed == 120
    assert slow == ["torch", "transformers"]  # which has the tokenizer, and imports torch for configurations
