"""The command itself: its help, and what its import costs."""

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
