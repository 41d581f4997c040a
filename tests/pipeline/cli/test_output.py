"""What is printed: safe on any terminal, whatever tokens and names hold, and in any encoding."""

import io
import json
import re
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from pipeline.cli import run
from pipeline.cli.main import main
from pipeline.cli.output import figure, plain_table, show_table
from pipeline.runtime.console import Narrator
from tests.pipeline.report.documents import HOSTILE, make_relation, make_results

ROOT = Path(__file__).parents[3]
ESCAPES = "\x1b[2J\x1b]0;mine\x07\x9b31m\u202e[red]"


def steering(text: str) -> set[str]:
    return {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs")} - {"\n"}


@pytest.fixture
def hostile_catalogue(tmp_path: Path) -> Path:
    side = {"template": "here", "answers": ["a", ESCAPES]}
    catalogue = {
        "templates": {"here": f"{{}} {ESCAPES} in"},
        "relations": {"toy": {"family": ESCAPES, "source": side, "target": side}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(catalogue))
    return tmp_path / "own.yaml"


def test_names_and_templates_are_shown_escaped(printed, hostile_catalogue):
    shown = printed("relations", "list", "--catalogue", hostile_catalogue)
    assert steering(shown) == set()
    assert r"\x1b[2J\x1b]0;mine\x07\x9b31m\u202e[red]" in shown  # nor is it markup
    document = printed("relations", "list", "--catalogue", hostile_catalogue, "--json")
    assert steering(document) == set()
    (toy,) = [row for row in json.loads(document) if row["name"] == "toy"]
    assert toy["family"] == ESCAPES


def test_tokens_are_shown_escaped(capsys):
    assert any(map(steering, HOSTILE))
    run.print_results(make_results(make_relation(ESCAPES)))
    assert steering(capsys.readouterr().out) == set()


def test_messages_and_refusals_are_shown_escaped(refusal, capsys, flags):
    Narrator().tell(f"Fitting {ESCAPES}")
    assert steering(capsys.readouterr().err) == set()
    assert steering(refusal("plan", *flags, "--relations", ESCAPES)) == set()


def test_figures_have_no_negative_zero():
    assert [figure(value, 2) for value in (-0.004, -0.006, 0.0, None)] == ["0.00", "-0.01", "0.00", "–"]


def test_few_sources_are_not_told_to_have_an_interval(capsys):
    relation = make_relation()
    relation["fits"][0]["hits"]["influenced target"] |= {"of": 1, "low": None, "high": None}
    run.print_results(make_results(relation))
    words = " ".join(capsys.readouterr().out.split())
    assert "row of W, 1 source (!)" in words  # of the next note
    run.print_results(make_results(make_relation()))
    assert "row of W, 42 sources (95 % interval over them)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("columns", ["80", "40"])
def test_names_make_room_for_figures_of_a_table_of_80_columns(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    table = plain_table(None, ["relation", "fit"], ["first", "second", "third"])
    figures = ("0.123 ± 0.456 (.12–.34)", "-0.789 ± 0.123", "0.456")
    table.add_row("a-relation-of-a-rather-long-name", "vocabulary-ridge", *figures)
    show_table(table)
    shown = capsys.readouterr().out
    assert all(figure in shown for figure in figures)
    assert "vocab" in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) == 80


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_terminal_of_any_encoding_gets_all_results(encoding, monkeypatch):
    text = printed_in(encoding, ["run", "--model", "m"], monkeypatch).decode(encoding)
    assert "city-country: what r is worth" in text
    assert "Report: page" in text


def test_json_is_json_in_any_encoding(monkeypatch):
    document = json.loads(printed_in("latin-1", ["run", "--model", "m", "--json"], monkeypatch))
    tokens = [row["token"] for row in document["relations"][0]["fits"][0]["r_by_target"]]
    assert tokens == [" Japan", *HOSTILE]


def printed_in(encoding: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a finished run prints on standard output of an encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    finished = nullcontext(Done(make_results(make_relation())))
    monkeypatch.setattr("pipeline.cli.run.job_with_workers", lambda *_: finished)
    monkeypatch.setattr("sys.stdout", stream)
    assert main(arguments) == 0
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


class Done:
    """A run that has been done."""

    def __init__(self, results) -> None:
        self.results = results

    def run(self):
        return self.results, "page"


def test_commands_print_through_one_file():
    """Which escapes what others wrote."""
    for path in (ROOT / "pipeline" / "cli").glob("*.py"):
        if path.name not in ("output.py", "main.py"):
            assert not re.search(r"\bprint\(|\bConsole\(|\bTable\(", path.read_text("utf-8")), path.name
