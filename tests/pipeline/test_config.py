"""The configuration: one YAML file and flags of the same names, checked before anything runs."""

import inspect
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from hypothesis import example, given
from hypothesis import settings as within
from hypothesis import strategies as st

from lincorr.errors import BadInput
from pipeline.cli import main as cli
from pipeline.config import RunConfig, Section, load_config, settings

VERBS = ("run", "plan", "extract", "fit", "evaluate", "report", "show")


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(cli.app)
    return dict(group.commands)


def leaves(section: type[Section], prefix: str = "") -> dict[str, Any]:
    """Every setting that is not a section, found without `settings`."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if inspect.isclass(k)]
        inner = next((k for k in kinds if issubclass(k, Section)), None)
        found |= {prefix + name: field} if inner is None else leaves(inner, f"{prefix}{name}.")
    return found


# Settings and their flags

LEAVES = leaves(RunConfig)


def test_settings_lists_every_leaf():
    assert set(settings()) == set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_a_setting_has_a_description(name):
    assert settings()[name][0].strip().endswith(".")


@pytest.mark.parametrize("name", LEAVES)
def test_a_setting_has_one_flag_in_every_verb(name, commands):
    short = {"model.source": "--model", "store.path": "--store"}
    flag = short.get(name, "--" + name.replace(".", "-").replace("_", "-"))
    for verb in VERBS:
        assert sum(flag in parameter.opts for parameter in commands[verb].params) == 1, verb


@pytest.mark.parametrize("name", LEAVES)
def test_the_help_of_a_flag_tells_its_default(name, commands):
    default = settings()[name][1]
    flag = next(p for p in commands["run"].params if p.name == name.replace(".", "_"))
    assert settings()[name][0] in flag.help
    if default not in (None, ()):
        shown = ",".join(default) if isinstance(default, tuple) else str(default).lower()
        assert f"Default: {shown}." in flag.help


@pytest.mark.parametrize("name", [n for n, f in LEAVES.items() if n != "model.source"])
def test_the_default_of_a_setting_is_what_is_loaded(name):
    loaded: Any = load_config(None, {"model.source": "m"})
    for part in name.split("."):
        loaded = getattr(loaded, part)
    assert loaded == settings()[name][1]


# A file and its overrides

FLAGS = {
    "model.source": ("other", "other"),
    "model.dtype": ("bfloat16", "bfloat16"),
    "model.trust_remote_code": ("true", True),
    "relations": ("a,b", ("a", "b")),
    "catalogue": ("x.yaml, y.yaml", (Path("x.yaml"), Path("y.yaml"))),
    "source_answers": ("cities.txt", Path("cities.txt")),
    "subjects.split": ("even-odd", "even-odd"),
    "subjects.count": ("77", 77),
    "subjects.classes": ("text,byte", ("text", "byte")),
    "store.path": ("s3://bucket/run.zarr", "s3://bucket/run.zarr"),
    "store.hidden": ("false", False),
    "store.shard_rows": ("8", 8),
    "cluster.kind": ("serial", "serial"),
    "fit.rcond": ("1e-3", 1e-3),
    "report.sources": ("3", 3),
}
FILE = """\
model: {source: m, dtype: float32, trust_remote_code: false}
relations: [c]
catalogue: [z.yaml]
source_answers: towns.txt
subjects: {count: 1000, classes: [blank]}
store: {path: s.zarr, hidden: true, shard_rows: 16}
cluster: {kind: local, workers: 2}
fit: {rcond: 0.5}
report: {sources: 10}
"""


def value_of(loaded: Any, name: str) -> Any:
    for part in name.split("."):
        loaded = getattr(loaded, part)
    return loaded


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_overrides_the_file_and_nothing_else(name, load):
    text, value = FLAGS[name]
    plain, overridden = load(FILE), load(FILE, **{name: text})
    assert value_of(plain, name) != value == value_of(overridden, name)
    for other in set(LEAVES) - {name}:
        assert value_of(plain, other) == value_of(overridden, other)


def test_a_flag_adds_to_a_section_that_the_file_lacks(load):
    assert load("model: m", store__precision="float16").store.precision == "float16"


def test_a_flag_can_take_a_value_back(load):
    assert load("model: m\nfit: {rcond: 0.1}", fit__rcond="null").fit.rcond is None
    assert load("model: m\nsubjects: {count: 9}", subjects__count="null").subjects.count == 1000


@pytest.mark.parametrize("text", ["2024", "0012345", "1e5", "true", "12_3"])
def test_text_settings_take_text_that_looks_like_something_else(text):
    loaded = load_config(None, {"model.source": text, "model.revision": text, "store.path": text})
    assert (loaded.model.source, loaded.model.revision, loaded.store.path) == (text, text, text)


@pytest.mark.parametrize("text", ["model: m\nstore: s.zarr", "model: {source: m}\nstore: {path: s.zarr}"])
def test_model_and_store_may_be_given_in_one_word(text, load):
    loaded = load(text)
    assert (loaded.model.source, loaded.store.path) == ("m", "s.zarr")


def test_flags_join_a_shorthand(load):
    loaded = load("model: m\nstore: s.zarr", model__device="cpu", store__hidden="false")
    assert (loaded.model.source, loaded.model.device) == ("m", "cpu")
    assert (loaded.store.path, loaded.store.hidden) == ("s.zarr", False)


def test_the_store_and_the_report_have_places_of_their_own():
    loaded = load_config(None, {"model.source": "models/tiny.gguf"})
    assert loaded.store_url() == "runs/tiny.zarr"
    assert loaded.report_folder() == Path("runs/tiny-report")


def test_the_default_store_is_named_after_the_whole_model():
    names = {load_config(None, {"model.source": f"org/Model-3.{n}-1B"}).store_url() for n in (1, 2)}
    assert names == {"runs/Model-3.1-1B.zarr", "runs/Model-3.2-1B.zarr"}


def test_a_report_on_a_remote_store_is_written_here():
    loaded = load_config(None, {"model.source": "m", "store.path": "s3://bucket/deep/run.zarr"})
    assert loaded.report_folder() == Path("run-report")


@within(deadline=None)
@given(
    count=st.integers(4) | st.just("all"),
    seed=st.integers(0, 2**63 - 1),
    split=st.sampled_from(["grouped", "even-odd"]),
    rcond=st.none() | st.floats(0, 1, exclude_max=True),
    hidden=st.none() | st.booleans(),
    rows=st.none() | st.integers(1, 10**6),
)
def test_flags_say_whatever_a_file_can_say(count, seed, split, rcond, hidden, rows):
    values = {
        "subjects.count": count,
        "subjects.seed": seed,
        "subjects.split": split,
        "fit.rcond": rcond,
        "store.hidden": hidden,
        "store.shard_rows": rows,
    }
    flags = {name: "null" if v is None else str(v).lower() for name, v in values.items()}
    loaded = load_config(None, {"model.source": "m"} | flags)
    assert {name: value_of(loaded, name) for name in values} == values


def test_a_configuration_written_out_reads_as_the_same(load, tmp_path):
    loaded = load(FILE, subjects__split="even-odd")
    assert load(yaml.safe_dump(loaded.model_dump(mode="json"))) == loaded


# Refusals


@pytest.mark.parametrize(
    ("text", "name", "nearest"),
    [
        ("subjects: {cout: 5}", "subjects.cout", "'subjects.count'"),
        ("subject: {count: 5}", "subject", "'subjects'"),
        ("store: {shardrows: 5}", "store.shardrows", "'store.shard_rows'"),
        ("relation: [a]", "relation", "'relations'"),
        ("Subjects: {count: 5}", "Subjects", "'subjects'"),
        ("subjects.count: 5", "subjects.count", "`subjects:`, and `count:` indented below it"),
        ("cluster: {adress: x}", "cluster.adress", "'cluster.address'"),
    ],
)
def test_an_unknown_key_names_the_nearest(text, name, nearest, refusal):
    line = refusal(f"model: m\n{text}\n")
    assert f"{name}: there is no such setting" in line
    assert nearest in line


def test_an_unknown_key_like_no_other_points_to_the_table(refusal):
    assert "docs/configuration.md" in refusal("model: m\nqqqqqqqq: 1\n")


WRONG = {
    "subjects.count": ("3", "4 or more"),
    "subjects.kind": ("words", "vocabulary, tokens or strings"),
    "subjects.seed": ("-1", "0 or more"),
    "subjects.classes": ("text,letters", "text, blank, byte, added or special, or a list"),
    "subjects.split": ("odd", "grouped or even-odd"),
    "subjects.compat": ("yes", "none or notebook"),
    "store.precision": ("float8", "float32 or float16"),
    "store.hidden": ("perhaps", "true or false"),
    "store.logits": ("some", "answers or all"),
    "store.shard_rows": ("half", "a whole number"),
    "cluster.kind": ("grid", "local, serial, address, gpus, ssh, slurm or kubernetes"),
    "cluster.workers": ("10001", "10000 or less"),
    "cluster.batch_tokens": ("1.5", "a whole number"),
    "model.dtype": ("int8", "auto, float32, float16 or bfloat16"),
    "fit.rcond": ("1", "less than 1"),
    "fit.method": ("gelsd", "auto, direct, factored, gram, dual, lowrank or tiled"),
    "fit.penalty": ("a tenth", "a number"),
    "fit.memory": ("0", "more than 0"),
    "report.sources": ("all", "a whole number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_setting_and_value_with_what_to_write(name):
    value, wanted = WRONG[name]
    with pytest.raises(BadInput) as caught:
        load_config(None, {"model.source": "m", name: value})
    assert str(caught.value) == f"{name}: '{value.split(',')[-1]}' is refused; write {wanted}"


def test_a_wrong_value_in_a_file_names_the_file(refusal):
    assert "run.yaml: store.precision: 'float8'" in refusal("model: m\nstore: {precision: float8}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model: m\nsubjects: {kind: tokens}", "subjects.file"),
        ("model: m\nsubjects: {kind: strings}", "subjects.file"),
        ("model: m\nsubjects: {compat: notebook, count: all}", "subjects.compat"),
        ("model: m\nsubjects: {compat: notebook, kind: tokens, file: f}", "subjects.compat"),
        ("model: m\ncluster: {kind: address}", "cluster.address"),
        ("model: m\nrelations: []", "relations"),
        ("store: s.zarr", "model"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text, name, refusal):
    assert refusal(text).startswith(f"{name}: ")


@pytest.mark.parametrize("text", ["[a, b]", "word", "3", "model: [", "a: b: c", "\t- x", "model: 2026-13-01"])
def test_a_file_that_is_no_mapping_is_refused(text, refusal):
    assert refusal(text).startswith("configuration: ")


@pytest.mark.parametrize("text", ["subjects: 3", "store: 12", "model: 1", "1: 2", "subjects: {3: 1}"])
def test_a_section_that_is_none_is_refused(text, refusal):
    head = "" if text.startswith("model") else "model: m\n"
    assert "run.yaml: " in refusal(head + text)


@pytest.mark.parametrize("section", ["subjects", "cluster", "fit", "report"])
def test_text_in_the_place_of_a_section_is_refused(section, refusal):
    assert f"{section}: 'fast' is not a section" in refusal(f"model: m\n{section}: fast")


@pytest.mark.parametrize("text", ["Model: m", "modle: m", "model: {sorce: m}"])
def test_a_misspelt_model_is_told_rather_than_a_missing_one(text, refusal):
    assert "there is no such setting; did you mean 'model" in refusal(text)


@pytest.mark.parametrize("name", ["relations", "subjects.count", "store.precision", "cluster.kind"])
def test_a_setting_that_is_left_empty_has_its_default(name, load):
    section, _, leaf = name.rpartition(".")
    text = f"{section}:\n  {leaf}:\n" if section else f"{leaf}:\n"
    assert load(f"model: m\n{text}") == load("model: m")


def test_a_wrong_flag_is_not_laid_on_the_file(refusal):
    line = refusal("model: m\nsubjects: {count: 50}", subjects__count="many")
    assert line.startswith("subjects.count: 'many'")


def test_a_comma_at_the_end_of_a_list_adds_no_name(load):
    assert load("model: m", relations="a, b,").relations == ("a", "b")


def test_a_flag_into_what_is_no_section_is_refused(refusal):
    assert refusal("model: m\nsubjects: 3", subjects__count="9").startswith("subjects: 3 is not a section")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"absent\.yaml: no such file"):
        load_config(tmp_path / "absent.yaml", {})


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"model: caf\xe9")
    with pytest.raises(BadInput, match=r"run\.yaml: .* is not UTF-8"):
        load_config(path, {})


# YAML is data


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir"])
def test_a_python_tag_in_a_file_is_refused_and_does_nothing(tag, refusal, tmp_path):
    target = tmp_path / "made"
    assert "not valid YAML" in refusal(f"model: m\nstore: {tag} [{target}]\n")
    assert not target.exists()


def test_a_python_tag_in_a_flag_is_text_and_does_nothing(tmp_path):
    target = tmp_path / "made"
    text = f"!!python/object/apply:os.mkdir [{target}]"
    assert load_config(None, {"model.source": text}).model.source == text
    assert not target.exists()


def test_yaml_is_only_ever_loaded_safely():
    assert "yaml.load(" not in Path(inspect.getfile(load_config)).read_text("utf-8")
    assert not issubclass(yaml.SafeLoader, yaml.UnsafeLoader)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_a_key_with_two_values_is_refused(refusal):
    assert "given twice" in refusal("model: x\nrelations: [a]\nrelations: [b]\n")


def test_a_file_that_would_not_be_read_is_refused(refusal):
    assert refusal("model: x\nsubjects: {file: names.txt}\n").startswith("subjects.file: ")


def test_an_address_that_would_not_be_used_is_refused(refusal):
    assert refusal("model: x\ncluster: {address: tcp://h:1}\n").startswith("cluster.address: ")


def refusal_of(path: Path | None, flags: dict[str, str]) -> str:
    """The text of the refusal, empty if there is none; any other error is raised."""
    try:
        load_config(path, flags)
    except BadInput as refused:
        return str(refused)
    return ""


@within(deadline=None)
@given(values=st.dictionaries(st.sampled_from([*RunConfig.model_fields, "other"]), VALUES))
@example(values={"model": {"\x1e": False}})  # a line's end in str.splitlines and on some terminals
@example(values={"model": {"\n": False}})
def test_any_yaml_loads_or_is_refused_in_one_line(values, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert len(refusal_of(path, {}).splitlines()) <= 1


@within(deadline=None)
@given(name=st.sampled_from(list(LEAVES)), text=st.text())
def test_any_flag_loads_or_is_refused_in_one_line(name, text):
    assert len(refusal_of(None, {"model.source": "m"} | {name: text}).splitlines()) <= 1
