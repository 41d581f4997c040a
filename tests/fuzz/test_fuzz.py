"""Whatever the files of a user, a model or a store hold, a command ends in 0, 1 or 2, in one line.

Nothing of the user's is changed meanwhile. `FUZZ=50 pytest tests/fuzz` looks 50 times as long.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.config import forms
from tests.fuzz.mutation import changed_bytes, changed_file, changed_json, values
from tests.pipeline.cli.toy import files_of, write_catalogue

pytestmark = pytest.mark.filterwarnings("ignore")
TIMES = int(os.environ.get("FUZZ", "1"))


def examples(number: int) -> Callable[..., Any]:
    return settings(
        max_examples=number * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def store(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with maps, beside its catalogue."""
    folder = tmp_path_factory.mktemp("fuzz")
    flags = [f"--model={toy_model}", f"--catalogue={write_catalogue(folder / 'toy.yaml')}", "--relations=toy"]
    flags += ["--subjects-count=40", "--cluster-kind=serial", f"--store={folder / 'run.zarr'}"]
    flags += ["--store-shard-rows=16", "--cluster-batch-tokens=64"]
    assert main(["extract", *flags]) == 0
    assert main(["fit", *flags]) == 0
    return folder / "run.zarr"


@contextmanager
def user_folder() -> Iterator[Path]:
    """An empty folder, in which commands run."""
    here = Path.cwd()
    with TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(here)


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> int:
    """Run a command that only reads, and check how it ends."""
    before = files_of(Path.cwd())
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    check(capfd, code)
    assert files_of(Path.cwd()) == before
    return code


def check(capfd: pytest.CaptureFixture[str], code: int) -> None:
    """Check a command's exit code and what it said: one line where it failed, and no defect of ours."""
    told = capfd.readouterr()
    assert code in (0, 1, 2)
    errors = [line for line in told.err.splitlines() if line.startswith("error: ")]
    if code and not told.out:
        assert len(errors) == 1, told.err
        assert "(--debug shows where)" not in errors[0], errors[0]  # a defect of ours
        assert errors[0].isprintable()
        assert "Traceback" not in told.err
    else:
        assert not errors


def write(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


# --- the user's own files -----------------------------------------------------------------------------

SETTINGS = sorted(forms())
OWN_WORDS = st.sampled_from(
    [
        "all",
        "serial",
        "strings",
        "tokens",
        "notebook",
        "even-odd",
        "tiled",
        "float16",
        "text",
        "toy",
        "1e3",
        "7",
    ]
)


@examples(40)
@given(changes=st.dictionaries(st.sampled_from(SETTINGS), values | OWN_WORDS, min_size=1, max_size=4))
def test_any_configuration(changes, toy_model, capfd):
    document: dict[str, Any] = {"model": {"source": str(toy_model), "device": "cpu"}, "relations": ["toy"]}
    document |= {"catalogue": ["toy.yaml"], "subjects": {"count": 20}}
    for name, value in changes.items():
        section, _, leaf = name.rpartition(".")
        (document.setdefault(section, {}) if section else document)[leaf] = value
    with user_folder() as folder:
        write_catalogue(folder / "toy.yaml")
        (folder / "run.yaml").write_bytes(yaml.safe_dump(document).encode("utf-8", "surrogatepass"))
        run(capfd, "plan", "run.yaml")


@examples(40)
@given(
    content=st.binary(max_size=60) | changed_bytes(b"model: {source: m, dtype: float32}\nrelations: [toy]\n")
)
def test_any_bytes_for_a_configuration(content, capfd):
    with user_folder() as folder:
        (folder / "run.yaml").write_bytes(content)
        run(capfd, "plan", "run.yaml")


CATALOGUE = {
    "templates": {"here": "{} lives here:", "there": {"text": "{} goes to", "wordings": ["{} went to"]}},
    "relations": {
        "own": {
            "family": "places",
            "source": {"template": "here", "answers": ["Tokyo", "Paris"]},
            "target": {"template": "there", "answers": ["Japan", "France"]},
            "truth": [["Tokyo", "Japan"], ["Paris", "France"]],
        }
    },
}


@examples(80)
@given(document=changed_json(CATALOGUE))
def test_any_catalogue(document, capfd):
    with user_folder() as folder:
        (folder / "own.yaml").write_bytes(yaml.safe_dump(document).encode("utf-8", "surrogatepass"))
        run(capfd, "relations", "list", "--catalogue", "own.yaml")


WORDS = b'Tokyo\nParis\r\n Berlin \n\xef\xbb\xbfRome\n"Cairo",Egypt\n["Lima"]\n12\n5\n6\n7\n'


@examples(12)
@given(
    content=changed_bytes(WORDS) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")),
    flag=st.sampled_from(["--source-answers", "--subjects-file"]),
    kind=st.sampled_from(["tokens", "strings"]),
    suffix=st.sampled_from([".txt", ".csv", ".json"]),
)
def test_any_list(content, flag, kind, suffix, toy_model, capfd):
    with user_folder() as folder:
        (folder / f"list{suffix}").write_bytes(content)
        flags = [
            f"--model={toy_model}",
            f"--catalogue={write_catalogue(folder / 'toy.yaml')}",
            "--relations=toy",
        ]
        flags += [f"--subjects-kind={kind}"] if flag == "--subjects-file" else ["--subjects-count=20"]
        run(capfd, "plan", *flags, flag, f"list{suffix}")


# --- files of others ----------------------------------------------------------------------------------

MODEL_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]


@contextmanager
def model_folder(model: Path, name: str, content: bytes | None) -> Iterator[Path]:
    """A folder, in which commands run, with a catalogue and a model of which one file is another."""
    with user_folder() as folder:
        shutil.copytree(model, folder / "model")
        write(folder / "model" / name, content)
        write_catalogue(folder / "toy.yaml")
        yield folder


@examples(15)
@given(data=st.data(), name=st.sampled_from(MODEL_FILES))
def test_any_model(data, name, toy_model, capfd):
    with model_folder(toy_model, name, data.draw(changed_file(toy_model / name))):
        run(capfd, "plan", "--model=model", "--catalogue=toy.yaml", "--relations=toy", "--subjects-count=20")


@examples(5)
@given(data=st.data(), name=st.sampled_from(MODEL_FILES))
def test_any_model_that_is_loaded(data, name, toy_model, capfd):
    """A store may be made; whatever else was there stays."""
    with model_folder(toy_model, name, data.draw(changed_file(toy_model / name))) as folder:
        before = files_of(folder)
        flags = ["--model=model", "--catalogue=toy.yaml", "--relations=toy", "--subjects-count=20"]
        flags += ["--cluster-kind=serial", "--store=run.zarr", "--cluster-batch-tokens=64"]
        check(capfd, main(["extract", *flags]))
        shutil.rmtree(folder / "run.zarr", ignore_errors=True)
        assert files_of(folder) == before


@examples(20)
@given(
    data=st.data(),
    verb=st.sampled_from([["store", "info"], ["store", "verify"], ["show", "Tokyo", "--store"]]),
)
def test_any_store(data, verb, store, capfd):
    files = sorted(path.relative_to(store) for path in store.rglob("*") if path.is_file())
    name = data.draw(st.sampled_from(files))
    content = data.draw(changed_file(store / name))
    with user_folder() as folder:
        shutil.copytree(store, folder / "run.zarr")
        write(folder / "run.zarr" / name, content)
        run(capfd, *verb, "run.zarr")
