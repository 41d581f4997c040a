"""Paths as users write them: ~ and variables mean the same in every setting, file and flag."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue
from pipeline.cli.main import main
from pipeline.config import RunConfig, forms, load_config
from pipeline.config.sections import LISTS_OF_PATHS, PATHS

NEEDED = {"subjects.file": {"subjects.kind": "strings"}, "cluster.spec": {"cluster.kind": "kubernetes"}}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATA", "/data")


def value_of(config: RunConfig, setting: str) -> str:
    value: Any = config
    for part in setting.split("."):
        value = getattr(value, part)
    return str(value[0] if isinstance(value, tuple) else value)


def load(tmp_path: Path, setting: str, value: Any, by: str) -> RunConfig:
    """Load one setting from a file or from a flag."""
    path = tmp_path / "run.yaml"
    settings = {"model.source": "m", **NEEDED.get(setting, {}), setting: value}
    if by == "flag":
        return load_config(None, settings)
    document: dict[str, Any] = {}
    for name, one in settings.items():
        section, _, leaf = name.rpartition(".")
        (document.setdefault(section, {}) if section else document)[leaf] = one
    path.write_text(yaml.safe_dump(document))
    return load_config(path, {})


def test_every_setting_that_takes_a_path_is_one():
    assert {name for name, form in forms().items() if "PATH" in form} <= set(PATHS)


@pytest.mark.parametrize("by", ["file", "flag"])
@pytest.mark.parametrize("setting", PATHS)
def test_home_and_variables_are_expanded_alike(setting, by, tmp_path):
    home = tmp_path / "home"
    for written, meant in {"~/a b": f"{home}/a b", "$DATA/x": "/data/x", "${DATA}x~": "/datax~"}.items():
        assert value_of(load(tmp_path, setting, written, by), setting) == meant


@pytest.mark.parametrize("setting", PATHS)
def test_a_file_url_is_the_path_that_it_names(setting, tmp_path):
    for written in ("file:///data/a%20b", "file:/data/a b", "FILE://localhost/data/a b"):
        assert value_of(load(tmp_path, setting, written, "flag"), setting) == "/data/a b"


@pytest.mark.parametrize(
    ("written", "why"), [("file://a.zarr", "no file of this machine"), ("s3:/bucket/a.zarr", "one slash")]
)
def test_a_url_that_is_written_wrong_is_refused(written, why, tmp_path):
    with pytest.raises(BadInput, match=f"^store.path: .*{why}"):
        load(tmp_path, "store.path", written, "flag")


@pytest.mark.parametrize("setting", LISTS_OF_PATHS)
def test_each_path_of_a_list_is_expanded(setting, tmp_path):
    assert "('/data/a')" in str(load(tmp_path, setting, "./a,$DATA/a,$DATA/b", "flag"))


@pytest.mark.parametrize("by", ["file", "flag"])
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("$NOWHERE/x", "names the variable 'NOWHERE', which is not set"),
        ("${NOWHERE}", "names the variable 'NOWHERE'"),
        ("~nobody-here/x", "no such home folder"),
        ("a\udcff", "is not UTF-8"),
        ("x/" + "a" * 300, "more than 255 bytes"),
    ],
)
def test_a_path_that_cannot_be_is_refused(path, says, by, tmp_path):
    for setting in ("store.path", "catalogue", "report.folder"):
        with pytest.raises(BadInput, match=says) as caught:
            load(tmp_path, setting, path, by)
        assert str(caught.value).startswith(f"{setting}: ")


def test_a_path_with_a_nul_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"store\.path: .* has a NUL"):
        load(tmp_path, "store.path", "a\0b", "file")


def test_a_list_that_a_catalogue_names_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(tmp_path))
    (tmp_path / "home").mkdir()
    for folder in (tmp_path, tmp_path / "home"):
        (folder / "birds.txt").write_text("robin\nlark\n")
    for name in ("~/birds.txt", "$DATA/birds.txt", "birds.txt"):
        side = {"template": "city", "answers": {"file": name}}
        (tmp_path / "own.yaml").write_text(
            yaml.safe_dump({"relations": {"a-b": {"source": side, "target": side}}})
        )
        assert load_catalogue([tmp_path / "own.yaml"]).relation("a-b").source.answers == ("robin", "lark")


def test_nothing_that_a_store_remembers_is_expanded():
    """A stranger's store must not read this environment."""
    remembered = {"model": {"source": "hub/$HOME"}, "catalogue": ["$HOME/a.yaml"]}
    loaded = load_config(None, {"store.path": "s"}, remembered)
    assert (loaded.model.source, loaded.catalogue) == ("hub/$HOME", (Path("$HOME/a.yaml"),))


def test_a_store_remembers_where_a_model_is_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / "models" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    model = {"source": "models/a", "adapter": "./models"}
    remembered = RunConfig(model=model).to_remember()["model"]
    assert (remembered["source"], remembered["adapter"]) == (
        str(tmp_path / "models/a"),
        str(tmp_path / "models"),
    )
    for source in ("org/name", "package:name/file.gguf"):
        assert RunConfig(model={"source": source}).to_remember()["model"]["source"] == source


@pytest.mark.parametrize("verb", [["store", "info"], ["store", "verify"], ["show", "Rome", "--store"]])
def test_a_store_that_is_named_to_be_read(verb, capsys, tmp_path):
    assert main([*verb, "~/absent.zarr"]) == 2
    assert f"'{tmp_path}/home/absent.zarr'" in capsys.readouterr().err
