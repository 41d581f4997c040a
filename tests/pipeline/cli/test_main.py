"""The command line: one line for what is refused, nothing changed on disk; JSON and tables."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lincorr.testing import CITIES, COUNTRIES, save_toy_model
from pipeline.cli.main import main

VERBS = ("run", "plan", "extract", "fit", "evaluate", "report", "show", "hubs", "store", "relations")
TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


def write_catalogue(path: Path, templates: dict[str, str] = TEXTS, cities: tuple[str, ...] = CITIES) -> Path:
    """Write one relation `toy` of the toy model's own words."""
    source, target = list(templates)
    relation = {
        "source": {"template": source, "answers": list(cities)},
        "target": {"template": target, "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }
    path.write_text(yaml.safe_dump({"templates": templates, "relations": {"toy": relation}}))
    return path


def files_of(*folders: Path) -> dict[Path, bytes | None]:
    """Every file and folder, with the bytes of files."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by default lands where the test can see it; tables are wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path) -> list[str]:
    """A run of the toy model that is small and stays in this process; later flags override."""
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    options = {
        "--model": toy_model,
        "--catalogue": catalogue,
        "--relations": "toy",
        "--subjects-count": 60,
        "--store": tmp_path / "run.zarr",
        "--cluster-kind": "serial",
    }
    return [str(part) for option in options.items() for part in option]


@pytest.fixture(scope="session")
def finished(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with maps and scores, made once."""
    folder = tmp_path_factory.mktemp("finished")
    store = folder / "run.zarr"
    arguments = ["--model", str(toy_model), "--catalogue", str(write_catalogue(folder / "toy.yaml"))]
    arguments += ["--relations", "toy", "--subjects-count", "60", "--cluster-kind", "serial"]
    assert main(["run", *arguments, "--store", str(store), "--json"]) == 0
    return store


@pytest.fixture
def with_store(flags: list[str], finished: Path, tmp_path: Path) -> list[str]:
    """The same run, with a store of one's own that is finished."""
    shutil.copytree(finished, tmp_path / "run.zarr")
    return flags


@pytest.fixture
def refusal(tmp_path: Path, toy_model: Path, capsys) -> Callable[..., str]:
    """The one line with which a command is refused, having changed nothing."""

    def refusal(*arguments: object) -> str:
        before = files_of(tmp_path, toy_model)
        code = main([str(a) for a in arguments])
        told = capsys.readouterr()
        assert code == 2
        assert told.out == ""
        lines = told.err.splitlines()
        assert len(lines) == 1, told.err
        assert lines[0].startswith("error: ")
        assert files_of(tmp_path, toy_model) == before
        return lines[0]

    return refusal


@pytest.fixture
def printed(capsys) -> Callable[..., str]:
    """What a command prints on standard output, having worked."""

    def printed(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return printed


# Refusals


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


def test_a_store_in_a_folder_of_other_things(refusal, flags, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"jpg")
    assert "is no lincorr store" in refusal("run", *flags, "--store", tmp_path / "photos")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("other-model"), seed=1)


@pytest.mark.parametrize("verb", ["run", "plan", "extract", "fit", "evaluate"])
def test_another_model_than_the_stores(verb, refusal, with_store, other_model):
    line = refusal(verb, *with_store, "--model", other_model)
    assert "model: another model: its weights differ" in line


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
    line = refusal("run", *flags, "--subjects-kind", "strings", "--subjects-file", "subjects.txt")
    assert "subjects.txt is empty" in line


def test_a_subject_file_with_an_id_beyond_the_vocabulary(refusal, flags, tmp_path):
    (tmp_path / "ids.txt").write_text("5\n999999\n")
    line = refusal("run", *flags, "--subjects-kind", "tokens", "--subjects-file", "ids.txt")
    assert "999999" in line


def test_a_subject_file_with_a_line_that_is_no_id(refusal, flags, tmp_path):
    (tmp_path / "ids.txt").write_text("5\nTokyo\n")
    line = refusal("run", *flags, "--subjects-kind", "tokens", "--subjects-file", "ids.txt")
    assert "'Tokyo'" in line


def test_a_missing_configuration_file(refusal):
    assert "absent.yaml cannot be read" in refusal("run", "absent.yaml")


def test_an_unknown_relation(refusal, flags):
    assert "did you mean 'city-country'" in refusal("run", *flags, "--relations", "city-contry")


def test_a_device_that_is_not_there(refusal, flags):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "model.device: 'cuda'" in refusal("run", *flags, "--model-device", "cuda")


@pytest.mark.parametrize("verb", ["fit", "evaluate", "report"])
def test_a_verb_that_needs_a_store(verb, refusal, flags):
    assert "run `lincorr extract` first" in refusal(verb, *flags)


@pytest.mark.parametrize("verb", [["show", "Tokyo"], ["fit"]])
def test_no_model_and_no_store(verb, refusal):
    assert "model: no model is named" in refusal(*verb)


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


@pytest.mark.parametrize("arguments", [[], ["store"], ["relations"]])
def test_a_bare_command_shows_its_help(arguments, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert "Usage:" in told.out + told.err


def test_a_defect_is_one_line_and_exits_with_1(flags, capsys, monkeypatch):
    monkeypatch.setattr("pipeline.run.Run.plan", lambda self: 1 / 0)
    assert main(["plan", *flags]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: ZeroDivisionError: division by zero (--debug shows where)"
    ]


def test_debug_shows_where_a_refusal_came_from(flags):
    with pytest.raises(Exception, match="no/such/model") as caught:
        main(["plan", *flags, "--model", "no/such/model", "--debug"])
    assert caught.traceback[-1].path.name == "files.py"


def test_an_interruption_is_one_line(flags, capsys, monkeypatch):
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run.Run.plan", interrupt)
    assert main(["plan", *flags]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


# Help


def in_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_nothing_slow(verb):
    slow = {"torch", "transformers", "dask", "distributed", "matplotlib"}
    done = in_new_process(
        "import sys\nfrom pipeline.cli.main import main\n"
        f"code = main([{verb!r}, '--help'])\n"
        f"print(code, *({slow!r} & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.split() == ["0"]
    assert "Usage:" in done.stdout


def test_help_names_the_choices_of_a_setting(printed):
    words = printed("run", "--help")
    assert "--subjects-split grouped|even-odd" in " ".join(words.split())
    assert "--store-hidden true|false" in " ".join(words.split())
    assert "--subjects-count INTEGER|all" in " ".join(words.split())


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "pipeline", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


# What the verbs print


@pytest.mark.parametrize("verb", ["run", "extract", "fit", "evaluate", "report"])
def test_json_is_all_that_is_printed(verb, with_store, capfd):
    assert main([verb, *with_store, "--json"]) == 0
    told = capfd.readouterr()
    assert isinstance(json.loads(told.out), dict)
    assert told.err == ""


def test_a_table_goes_out_and_what_happens_goes_to_the_side(with_store, capsys):
    assert main(["run", *with_store]) == 0
    told = capsys.readouterr()
    assert "held-out score of each fit" in told.out
    assert "vocabulary-ridge" in told.out
    assert "Nothing to extract" in told.err


def test_plan_counts_and_writes_nothing(printed, flags, tmp_path):
    before = files_of(tmp_path)
    planned = json.loads(printed("plan", *flags, "--store-shard-rows", 25, "--json"))
    assert files_of(tmp_path) == before
    assert planned["exists"] is False
    assert (planned["n_subjects"], planned["n_shards"]) == (60, 3)
    assert (planned["prompts_needed"], planned["prompts_kept"]) == (120, 0)
    assert planned["choices"]["toy/domain"]["method"] == "direct"
    assert planned["choices"]["toy/vocabulary"]["method"] == "factored"


def test_plan_says_what_is_kept_and_writes_nothing(printed, with_store, tmp_path):
    before = files_of(tmp_path)
    planned = json.loads(printed("plan", *with_store, "--subjects-count", 100, "--json"))
    assert files_of(tmp_path) == before
    assert (planned["prompts_needed"], planned["prompts_kept"]) == (80, 120)


def test_the_bytes_that_a_plan_predicts_are_those_that_are_written(printed, flags):
    planned = json.loads(printed("plan", *flags, "--json"))
    written = json.loads(printed("extract", *flags, "--json"))["bytes_written"]
    head = 376 * 32 * 4
    assert planned["bytes_to_write"] == written + head == 2 * 60 * (10 + 32) * 4 + head


def test_plan_prints_a_table(printed, flags):
    table = printed("plan", *flags)
    assert "60: 30 to fit, 30 to test" in table
    assert "120 to run, 0 kept" in table


def test_plan_refuses_what_the_disk_has_no_room_for(refusal, flags, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    assert "store: " in refusal("run", *flags)


def test_a_plan_names_what_is_no_answer_in_a_truth(printed, flags, tmp_path):
    catalogue = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    catalogue["relations"]["toy"]["truth"] += [["Tokio", "Japan"], ["Paris", "Nowhere"]]
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    note = "Relation 'toy': 2 names of the truth are not answers and ignored: 'Tokio' ('Tokyo'?), 'Nowhere'."
    assert note in printed("plan", *flags)
    document = json.loads(printed("run", *flags, "--json"))
    assert document["notes"] == [note]
    assert document["model"]["device"] == "cpu"  # not "auto", as it was asked for


def test_a_truth_of_answers_alone_is_not_noted(printed, flags):
    assert "no answer" not in printed("plan", *flags)


def test_relations_list_names_every_relation(printed):
    table = printed("relations", "list")
    assert "city-country" in table
    assert "{} lives in the country of" in table


def test_relations_list_has_ones_own(printed, tmp_path):
    own = write_catalogue(tmp_path / "own.yaml")
    listed = json.loads(printed("relations", "list", "--catalogue", own, "--json"))
    assert listed[-1] == {
        "name": "toy",
        "family": "custom",
        "source": TEXTS["city"],
        "target": TEXTS["country"],
        "wordings": 3,  # the templates are the catalogue's own
    }


def test_store_info(printed, finished):
    facts = json.loads(printed("store", "info", finished, "--json"))
    assert (facts["subjects"], facts["shards"], facts["width"]) == (60, 1, 32)
    assert facts["templates"]["city"] == {"text": TEXTS["city"], "columns": 10, "rows": 60}
    assert facts["relations"] == ["toy"]
    table = printed("store", "info", finished)
    assert "'{} lives in the city of': 10 columns, 60 rows" in table


def test_store_verify_of_a_whole_store(printed, finished):
    assert printed("store", "verify", finished).strip() == "every shard is whole and right"
    assert json.loads(printed("store", "verify", finished, "--json")) == {"faults": []}


def test_store_verify_names_what_is_not_extracted(with_store, capsys, monkeypatch):
    shutil.rmtree("run.zarr/done/city/c")
    assert main(["store", "verify", "run.zarr"]) == 1
    out = capsys.readouterr().out
    assert "template 'city', shard 0: not extracted" in out
    assert "faults: 1" in out


# show


def test_show_prints_the_strongest_targets(printed, with_store):
    (found,) = json.loads(printed("show", "Tokyo", *with_store, "--top", 3, "--json"))
    weights = [link["weight"] for link in found["links"]]
    assert (found["word"], found["map"], len(weights)) == (" Tokyo", "vocabulary-ridge", 3)
    assert weights == sorted(weights, reverse=True)
    assert {link["token"].strip() for link in found["links"]} <= set(COUNTRIES)


def test_show_marks_what_is_right(printed, with_store):
    (found,) = json.loads(printed("show", "Tokyo", *with_store, "--top", 10, "--json"))
    assert [link["token"] for link in found["links"] if link["right"]] == [" Japan"]


def test_show_looks_from_the_target_too(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--map", "domain", "--top", 10, "--json")
    (found,) = json.loads(printed(*arguments))
    assert {link["token"].strip() for link in found["links"]} == set(CITIES)
    assert [link["token"] for link in found["links"] if link["right"]] == [" Tokyo"]


def test_show_ranks_the_answers_among_all_sources_of_a_full_vocabulary_map(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--map", "vocabulary-ridge", "--top", 99, "--json")
    (found,) = json.loads(printed(*arguments))
    assert {link["token"].strip() for link in found["links"]} == set(CITIES)
    weights = [link["weight"] for link in found["links"]]
    assert weights == sorted(weights, reverse=True)


def test_a_store_alone_names_all_that_it_was_made_with(printed, finished):
    """The model, a catalogue of one's own, the relation, and how many subjects."""
    alone = ("--store", finished, "--json")
    assert json.loads(printed("plan", *alone))["prompts_needed"] == 0
    assert json.loads(printed("plan", *alone))["n_subjects"] == 60
    assert json.loads(printed("fit", *alone)) == {"fitted": []}
    assert json.loads(printed("show", "Tokyo", *alone))[0]["relation"] == "toy"


def test_flags_change_what_a_store_was_made_with(printed, finished):
    planned = json.loads(printed("plan", "--store", finished, "--subjects-count", 70, "--json"))
    assert (planned["n_subjects"], planned["prompts_needed"]) == (70, 20)


def test_a_catalogue_in_the_place_of_a_configuration(refusal, tmp_path):
    write_catalogue(tmp_path / "toy.yaml")
    assert "--catalogue" in refusal("run", tmp_path / "toy.yaml")


@pytest.mark.parametrize("word", ["Tokyo", " Tokyo", "tokyo", "TOKYO"])
def test_show_finds_a_word_however_it_is_written(word, printed, with_store):
    (found,) = json.loads(printed("show", word, *with_store, "--map", "domain", "--json"))
    assert found["word"] == " Tokyo"


def test_show_says_so_when_it_shows_another_word(printed, with_store):
    (found,) = json.loads(printed("show", "Tokio", *with_store, "--json"))
    assert (found["word"], found["note"]) == (" Tokyo", "no token 'Tokio'; showing ' Tokyo'")
    assert "no token 'Tokio'; showing ' Tokyo'" in printed("show", "Tokio", *with_store).splitlines()
    (same,) = json.loads(printed("show", "tokyo", *with_store, "--json"))
    assert (same["note"], same["links"]) == (None, found["links"])


@pytest.mark.parametrize(
    ("word", "near"), [("Tokiu", "' Tokyo'"), ("Rom", "' Rome'"), ("Oslow-Delhi", "' Oslo'")]
)
def test_show_suggests_the_nearest_words(word, near, refusal, with_store):
    line = refusal("show", word, *with_store, "--map", "domain")
    assert f"{word!r} is no source token; near it are " in line
    assert near in line


def test_show_finds_the_first_token_of_a_longer_name(printed, flags, tmp_path):
    longer = ("Rome Mountain", *CITIES[:4], *CITIES[5:])
    write_catalogue(tmp_path / "toy.yaml", cities=longer)
    printed("run", *flags, "--json")
    (found,) = json.loads(printed("show", "rome mountain", *flags, "--json"))
    assert (found["word"], found["note"]) == (
        " Rome",
        "'Rome Mountain' is not one token; showing ' Rome', its first",
    )


def test_show_prefers_the_relations_whose_answer_the_word_is(printed, flags, tmp_path):
    both = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    toy = both["relations"]["toy"]
    both["relations"]["back"] = {
        "source": toy["target"],
        "target": toy["source"],
        "truth": [pair[::-1] for pair in toy["truth"]],
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(both))
    flags = [*flags, "--relations", "toy,back"]
    printed("run", *flags, "--json")

    def relations(word: str) -> list[str]:
        return [found["relation"] for found in json.loads(printed("show", word, *flags, "--json"))]

    assert (relations("Tokyo"), relations("Japan"), relations("lives")) == (
        ["toy"],
        ["back"],
        ["toy", "back"],
    )


def test_show_looks_among_every_token_for_sources(printed, with_store):
    arguments = ("show", "Japan", *with_store, "--target", "--all-sources", "--top", 400, "--json")
    (found,) = json.loads(printed(*arguments))
    assert (found["among"], found["of"], len(found["links"])) == ("every token", 376, 376)
    (few,) = json.loads(printed("show", "Japan", *with_store, "--target", "--top", 99, "--json"))
    assert (few["among"], few["of"]) == ("the answers", 10)
    answers = [link for link in found["links"] if link["token"] in {" " + city for city in CITIES}]
    assert [link["token"] for link in answers] == [link["token"] for link in few["links"]]
    weights = [link["weight"] for link in few["links"]]
    assert [link["weight"] for link in answers] == pytest.approx(weights)


def test_show_refuses_every_source_of_a_source_or_of_the_answers_map(refusal, with_store):
    assert "--all-sources" in refusal("show", "Tokyo", *with_store, "--all-sources")
    arguments = ("show", "Japan", *with_store, "--target", "--all-sources", "--map", "domain")
    assert "has no sources but the answers" in refusal(*arguments)


def test_show_refuses_a_map_that_is_not_kept(refusal, with_store):
    assert "there are domain, domain-ridge" in refusal("show", "Tokyo", *with_store, "--map", "best")


def test_show_needs_only_the_store(printed, with_store):
    arguments = ("show", "Tokyo", "--store", "run.zarr", "--catalogue", "toy.yaml", "--json")
    few = ("--subjects-count", 4)  # the toy model knows fewer words than the default asks for
    assert json.loads(printed(*arguments, *few))[0]["relation"] == "toy"


def test_show_prints_a_table(printed, with_store):
    table = printed("show", "Tokyo", *with_store, "--top", 10)
    assert "' Japan' ✓" in table


# hubs


def test_hubs_are_those_of_the_targets_strongest_sources(printed, with_store):
    (found,) = json.loads(printed("hubs", *with_store, "--within", 3, "--json"))
    counts: dict[str, int] = {}
    right: dict[str, int] = {}
    for country in COUNTRIES:
        (shown,) = json.loads(printed("show", country, *with_store, "--target", "--top", 3, "--json"))
        for link in shown["links"]:
            counts[link["token"]] = counts.get(link["token"], 0) + 1
            right[link["token"]] = right.get(link["token"], 0) + link["right"]
    assert {hub["token"]: hub["targets"] for hub in found["hubs"]} == counts
    assert {hub["token"]: hub["right"] for hub in found["hubs"]} == right
    assert (found["relation"], found["map"], found["among"]) == ("toy", "vocabulary-ridge", "the answers")
    assert (found["sources"], found["targets"], found["top"], found["expected"]) == (10, 10, 3, 3.0)


def test_hubs_among_every_token(printed, with_store):
    (found,) = json.loads(printed("hubs", *with_store, "--all-sources", "--top", 4, "--json"))
    assert (found["sources"], len(found["hubs"]), found["among"]) == (376, 4, "every token")
    targets = [hub["targets"] for hub in found["hubs"]]
    assert targets == sorted(targets, reverse=True)


def test_hubs_prints_a_table(printed, with_store):
    (first, *_) = json.loads(printed("hubs", *with_store, "--json"))[0]["hubs"]
    assert repr(first["token"]) in printed("hubs", *with_store)
