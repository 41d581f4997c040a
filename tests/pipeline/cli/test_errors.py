"""What the command line refuses, in one line and with nothing changed on disk."""

import json
import shutil
from pathlib import Path

import pytest

from lincorr.testing import save_toy_model
from pipeline.cli.main import main
from tests.lincorr.model.edits import edit_json
from tests.pipeline.cli.toy import TEXTS, write_catalogue

COUNTED = ["--subjects-count", "null"]  # a file's subjects are counted


def test_an_unknown_model(refusal, flags):
    assert "'no/such/model'" in refusal("run", *flags, "--model", "no/such/model")


def test_a_folder_that_is_no_model(refusal, flags, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refusal("extract", *flags, "--model", tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "says"), [("Somebody lives in", "has no slot"), ("{} and {} live in", "has 2 slots")]
)
def test_a_template_without_its_one_slot(text, says, refusal, flags, tmp_path):
    own = write_catalogue(tmp_path / "own.yaml", TEXTS | {"city": text})
    line = refusal("run", *flags, "--catalogue", own)
    assert says in line
    assert "own.yaml" in line


def test_answers_without_a_single_token(refusal, flags, tmp_path):
    (tmp_path / "answers.txt").write_text("Ouagadougou\nYamoussoukro\n")
    line = refusal("run", *flags, "--source-answers", tmp_path / "answers.txt")
    assert "source answers" in line
    assert "'Ouagadougou'" in line


def test_more_subjects_than_the_vocabulary_has(refusal, flags):
    line = refusal("extract", *flags, "--subjects-count", 5000)
    assert "subjects.count: 5000" in line
    assert "236" in line


def test_a_store_below_a_file(refusal, flags, tmp_path):
    (tmp_path / "file").write_text("taken")
    assert "store: " in refusal("run", *flags, "--store", tmp_path / "file" / "run.zarr")


def test_a_store_in_the_place_of_a_file(refusal, flags, tmp_path):
    (tmp_path / "file").write_text("taken")
    assert "store: " in refusal("run", *flags, "--store", tmp_path / "file")


@pytest.mark.parametrize("place", [".", "/", "/dev/null", "/dev/null/run.zarr", "run.zarr/inner.zarr"])
def test_a_place_where_no_store_can_be(place, refusal, with_store):
    assert "error: store" in refusal("plan", *with_store, "--store", place)


def test_a_store_in_a_folder_of_other_things(refusal, flags, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"jpg")
    assert "is not a lincorr store" in refusal("run", *flags, "--store", tmp_path / "photos")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("other-model"), seed=1)


@pytest.mark.parametrize("verb", ["run", "plan", "extract", "fit", "evaluate"])
def test_another_model_than_the_stores(verb, refusal, with_store, other_model):
    line = refusal(verb, *with_store, "--model", other_model)
    assert "model: another model: its weights differ" in line


def test_other_tokens_than_the_stores(refusal, with_store, toy_model, tmp_path):
    """A setting that no file's digest has adds a special token; an older store has no digest to compare."""
    model, store = tmp_path / "model", tmp_path / "run.zarr"
    shutil.copytree(toy_model, model)
    edit_json(model / "tokenizer_config.json", extra_special_tokens={"x": "Paris"})
    line = refusal("extract", *with_store, "--model", model)
    assert "makes other tokens than that of" in line
    attributes = json.loads((store / "zarr.json").read_text())
    state = attributes["attributes"]["lincorr"]
    del state["identity"]["tokens"], state["seal"]
    (store / "zarr.json").write_text(json.dumps(attributes))
    assert main(["extract", *map(str, with_store)]) == 0


@pytest.mark.parametrize(
    ("flag", "value", "setting"),
    [
        ("--store-precision", "float16", "store.precision: float16"),
        ("--model-dtype", "bfloat16", "model.dtype: bfloat16"),
        ("--store-hidden", "false", "store.hidden: False"),
        ("--store-shard-rows", "8", "store.shard_rows: 8"),
        ("--cluster-batch-tokens", "8", "cluster.batch_tokens: 8"),
    ],
)
def test_another_precision_or_shape_than_the_stores(flag, value, setting, refusal, with_store):
    assert setting in refusal("run", *with_store, flag, value)


def test_a_template_that_is_another_in_the_catalogue(refusal, flags, tmp_path):
    own = write_catalogue(tmp_path / "own.yaml", TEXTS | {"city": "{} resides in the city of"})
    line = refusal("run", *flags, "--catalogue", own)
    assert "'city' already stands for '{} lives in the city of'" in line


def test_a_template_that_is_another_in_the_store(refusal, flags, tmp_path, printed):
    mine = {"town": "{} lives in the town of", "country": TEXTS["country"]}
    printed("extract", *flags, "--catalogue", write_catalogue(tmp_path / "own.yaml", mine), "--json")
    changed = write_catalogue(tmp_path / "own.yaml", mine | {"town": "{} grew up in the town of"})
    line = refusal("run", *flags, "--catalogue", changed)
    assert "'{} grew up in the town of'" in line
    assert "'{} lives in the town of'" in line


def test_an_unknown_key(refusal, tmp_path):
    (tmp_path / "run.yaml").write_text("model: m\nsubjects: {cuont: 5}\n")
    assert "did you mean 'subjects.count'?" in refusal("run", "run.yaml")


def test_an_empty_subject_file(refusal, flags, tmp_path):
    (tmp_path / "subjects.txt").write_text("\n  \n")
    line = refusal("run", *flags, *COUNTED, "--subjects-kind", "strings", "--subjects-file", "subjects.txt")
    assert "subjects.txt is empty" in line


def test_a_subject_that_is_a_special_token(refusal, flags, tmp_path, tokenizer):
    special = tokenizer.all_special_tokens[0]
    (tmp_path / "subjects.txt").write_text("\n".join(["Rome", f"a {special}", "Oslo"]))
    line = refusal("run", *flags, *COUNTED, "--subjects-kind", "strings", "--subjects-file", "subjects.txt")
    assert repr(f"a {special}") in line


def test_more_taught_subjects_than_the_vocabulary_has(refusal, flags, monkeypatch):
    monkeypatch.setattr("pipeline.run.Run.executor", None)  # no worker is started
    assert "--taught: 100,000 subjects" in refusal("shallow", *flags, "--taught", 100_000)


def test_a_subject_file_with_an_id_beyond_the_vocabulary(refusal, flags, tmp_path):
    (tmp_path / "ids.txt").write_text("5\n999999\n")
    line = refusal("run", *flags, *COUNTED, "--subjects-kind", "tokens", "--subjects-file", "ids.txt")
    assert "999999" in line


def test_a_subject_file_with_a_line_that_is_no_id(refusal, flags, tmp_path):
    (tmp_path / "ids.txt").write_text("5\nTokyo\n")
    line = refusal("run", *flags, *COUNTED, "--subjects-kind", "tokens", "--subjects-file", "ids.txt")
    assert "'Tokyo'" in line


def test_a_missing_configuration_file(refusal):
    assert "absent.yaml: no such file" in refusal("run", "absent.yaml")


def test_an_unknown_relation(refusal, flags):
    assert "did you mean 'city-country'" in refusal("run", *flags, "--relations", "city-contry")


def test_a_device_that_is_not_there(refusal, flags):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "model.device: 'cuda'" in refusal("run", *flags, "--model-device", "cuda")


@pytest.mark.parametrize("verb", ["run", "study"])
def test_a_report_that_would_replace_a_file_of_the_user(verb, refusal, flags, tmp_path):
    (tmp_path / "scores.csv").write_text("mine")
    assert "report.folder: 'scores.csv' is not what a report wrote" in refusal(
        verb, *flags, "--report-folder", "."
    )


@pytest.mark.parametrize("verb", ["run", "study"])
def test_a_report_that_cannot_be_written(verb, refusal, flags):
    assert "report.folder: '/dev/null/x'" in refusal(verb, *flags, "--report-folder", "/dev/null/x")


@pytest.mark.parametrize("verb", ["fit", "evaluate", "report"])
def test_a_verb_that_needs_a_store(verb, refusal, flags):
    assert "run `lincorr extract` first" in refusal(verb, *flags)


@pytest.mark.parametrize("verb", [["show", "Tokyo"], ["fit"]])
def test_no_model_and_no_store(verb, refusal):
    assert "model: no model is given" in refusal(*verb)


def test_a_store_that_is_not_there_to_take_the_model_from(refusal):
    assert "'absent.zarr'" in refusal("show", "Tokyo", "--store", "absent.zarr")


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_a_store_that_is_not_there(verb, refusal):
    assert "there is no lincorr store at 'absent.zarr'" in refusal("store", verb, "absent.zarr")


def test_a_catalogue_that_is_not_there(refusal):
    assert "absent.yaml" in refusal("relations", "list", "--catalogue", "absent.yaml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["run", "--no-such-flag"], "--no-such-flag"), (["nonsense"], "nonsense"), (["show"], "word")],
)
def test_what_is_no_command(arguments, says, refusal):
    assert says in refusal(*arguments)


@pytest.mark.parametrize(
    ("verb", "option", "values"),
    [
        ("edit", "--rate", ["0", "-1", "inf", "nan"]),
        ("edit", "--confidence", ["0", "1.1", "nan"]),
        ("edit", "--seed", ["-1", 2**63]),
        ("flips", "--seed", [2**63]),
        ("gradients", "--seed", [2**63]),
        ("shallow", "--seed", [2**63]),
    ],
)
def test_an_option_of_an_experiment_that_makes_no_sense(verb, option, values, refusal, flags):
    for value in values:
        assert f"'{option}'" in refusal(verb, *flags, option, value)


def test_a_defect_is_one_line_and_exits_with_1(flags, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.run.Run.plan", lambda self: 1 / 0)
    assert main(["plan", *flags]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: ZeroDivisionError: division by zero (--debug shows where)"
    ]


def test_debug_shows_where_a_refusal_came_from(flags):
    with pytest.raises(Exception, match="no/such/model") as caught:
        main(["plan", *flags, "--model", "no/such/model", "--debug"])
    assert Path(caught.traceback[-1].path).name == "hub.py"


def test_an_interruption_is_one_line(flags, capsys, monkeypatch):
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run.Run.plan", interrupt)
    assert main(["plan", *flags]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_catalogue_in_the_place_of_a_configuration(refusal, tmp_path):
    write_catalogue(tmp_path / "toy.yaml")
    assert "--catalogue" in refusal("run", tmp_path / "toy.yaml")
