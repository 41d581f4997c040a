"""The command itself: its help, and what its import costs."""

import json
import subprocess
import sys

import pytest

from pipeline.cli.main import main

VERBS = ("run", "plan", "extract", "fit", "evaluate", "report", "show", "hubs", "store", "relations")


@pytest.mark.parametrize("arguments", [[], ["store"], ["relations"]])
def test_a_bare_command_shows_its_help(arguments, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert "Usage:" in told.out + told.err


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[int, str, list[str]]]:
    """Exit code, text, and slow libraries imported so far, of each verb's help; all in one new process."""
    slow = {"torch", "transformers", "dask", "distributed", "matplotlib"}
    code = (
        "import contextlib, io, json, sys\nfrom pipeline.cli.main import main\nfound = {}\n"
        f"for verb in {VERBS!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as shown: code = main([verb, '--help'])\n"
        f"    found[verb] = code, shown.getvalue(), sorted({slow!r} & set(sys.modules))\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, tuple[int, str, list[str]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_nothing_slow(verb, helps):
    code, shown, slow = helps[verb]
    assert (code, slow) == (0, [])
    assert "Usage:" in shown


def test_help_names_the_choices_of_a_setting(printed):
    words = printed("run", "--help")
    assert "--subjects-split grouped|even-odd" in " ".join(words.split())
    assert "--store-hidden true|false" in " ".join(words.split())
    assert "--subjects-count INTEGER|all" in " ".join(words.split())


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "pipeline", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
