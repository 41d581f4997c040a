"""Whatever a file says: a plan, or one line and exit code 2; never a defect, and nothing on disk changes."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.config import settings as known_settings
from tests.pipeline.cli.toy import TEXTS, files_of, write_catalogue

FEW = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "~",
        "~/x",
        "$HOME",
        "$NOWHERE",
        "a\0b",
        "\ud800",
        "\ue000missing",
        "../x",
        "/",
        ".",
        "/dev/null",
        "s3://",
        "x" * 300,
    ]
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats()
    | TEXT
    | st.lists(TEXT, max_size=3)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)
# Left alone: what would reach for a network or a cluster.
SETTINGS = sorted(
    set(known_settings()) - {"model.source", "model.adapter", "store.path", "catalogue", "relations"}
)


@pytest.fixture
def outcome(tmp_path: Path, toy_model: Path) -> Any:
    """Plan what `run.yaml` in a folder of one's own describes; check how it ends."""

    def outcome(values: dict[str, Any]) -> None:
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), "utf-8")
        before, out, err = files_of(tmp_path), io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["plan", "run.yaml", "--json"])
        lines = [line for line in err.getvalue().splitlines() if line.startswith("error")]
        assert (code, len(lines)) in ((0, 0), (2, 1)), err.getvalue()
        assert files_of(tmp_path) == before

    return outcome


@pytest.fixture
def values(tmp_path: Path, toy_model: Path) -> dict[str, Any]:
    """A configuration that can be planned."""
    write_catalogue(tmp_path / "toy.yaml")
    return {
        "model": str(toy_model),
        "catalogue": ["toy.yaml"],
        "relations": ["toy"],
        "subjects": {"count": 60},
        "store": {"path": "run.zarr"},
        "cluster": {"kind": "serial"},
    }


@FEW
@given(changes=st.dictionaries(st.sampled_from(SETTINGS), PLAIN, min_size=1, max_size=2))
def test_settings_of_any_value(changes, values, outcome):
    document: dict[str, Any] = json.loads(json.dumps(values))
    for name, value in changes.items():
        section, _, leaf = name.rpartition(".")
        if section == "model":
            document["model"] = {"source": values["model"], leaf: value}
        else:
            (document.setdefault(section, {}) if section else document)[leaf] = value
    outcome(document)


@FEW
@given(document=st.dictionaries(TEXT | st.sampled_from(["model", "store", "fit"]), PLAIN, max_size=3))
def test_a_file_of_any_keys(document, outcome):
    outcome(document)


@FEW
@given(
    setting=st.sampled_from(["subjects", "source_answers", "target_answers"]),
    suffix=st.sampled_from([".txt", ".csv", ".json"]),
    content=st.binary(max_size=40) | st.lists(TEXT, max_size=6).map(lambda names: json.dumps(names).encode()),
)
@example(setting="subjects", suffix=".txt", content="\n".join(CITIES).encode())
def test_lists_of_any_bytes(setting, suffix, content, values, outcome, tmp_path):
    file = tmp_path / f"list{suffix}"
    file.write_bytes(content)
    given_list = {"kind": "strings", "file": str(file)} if setting == "subjects" else str(file)
    outcome(values | {setting: given_list})


@FEW
@given(
    templates=st.dictionaries(
        TEXT | st.sampled_from([*TEXTS, "zarr.json"]), TEXT | st.just("{} is in"), max_size=2
    ),
    answers=st.lists(TEXT | st.sampled_from(CITIES), max_size=3) | PLAIN,
    truth=st.lists(st.tuples(TEXT, TEXT).map(list), max_size=2) | PLAIN,
    name=TEXT,
)
def test_catalogues_of_any_content(templates, answers, truth, name, values, outcome, tmp_path):
    source = {"template": "city", "answers": answers}
    relation = {
        "source": source,
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": truth,
    }
    content = {"templates": {**TEXTS, **templates}, "relations": {"toy": relation, name or "b": relation}}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content), "utf-8")
    outcome(values)
