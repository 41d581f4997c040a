"""The documents say what the code does. `python tests/test_docs.py` rewrites the table of settings."""

import re
import shlex
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name

import pytest

from lincorr.relations.catalogue import load_catalogue
from pipeline.cli.main import main
from pipeline.config import settings
from tests.plots import blank

ROOT = Path(__file__).parent.parent
CONFIGURATION = ROOT / "docs" / "configuration.md"
HEAD = "| setting | default | meaning |\n| --- | --- | --- |\n"


def settings_table() -> str:
    """The table of every setting, from the code."""
    rows = []
    for name, (description, default) in settings().items():
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = "" if shown in (None, "") else f"`{str(shown).lower()}`"
        rows.append(f"| `{name}` | {text} | {description} |")
    return HEAD + "\n".join(rows) + "\n"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert settings_table() in CONFIGURATION.read_text("utf-8")


def lincorr_commands() -> list[str]:
    """Every `lincorr VERB` line in the README's indented blocks."""
    text = (ROOT / "README.md").read_text("utf-8")
    return sorted(set(re.findall(r"^    (lincorr [^#\n]+?)\s*(?:#.*)?$", text, flags=re.MULTILINE)))


@pytest.mark.parametrize("command", lincorr_commands())
def test_every_command_of_the_readme_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command)[1:], "--help"]) == 0
    usage = capsys.readouterr().out
    for flag in re.findall(r"--[a-z-]+", command):
        assert flag in usage


def test_the_catalogue_of_the_readme_is_whole(tmp_path: Path) -> None:
    """Whoever copies it has all that it needs."""
    for name, text in files_of(ROOT / "README.md").items():
        (tmp_path / name).write_text(text, "utf-8")
    catalogue = load_catalogue([tmp_path / "animals.yaml"])
    assert catalogue.describe("animal-feed").truth


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *sorted((ROOT / "lincorr").rglob("*.md")),
]
by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@by_document
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


_FOLDERS = "lincorr|pipeline|tests|benchmarks|deploy|docs|examples"


@by_document
def test_files_and_names_of_the_code_exist(document: Path) -> None:
    """Paths, dotted names, and names that are said to be in a file; not those of examples of what to add."""
    text = re.sub(r"^# \S+\.(py|yaml)$", "", document.read_text("utf-8"), flags=re.MULTILINE)
    for path in re.findall(rf"(?<![\w/.:@-])(?:{_FOLDERS})/[\w./-]*[\w/]", text):
        found = [folder / path for folder in (ROOT, document.parent)]
        assert any(p.exists() or p.with_suffix(".py").exists() for p in found), path
    for name in re.findall(r"(?<![\w/.(-])(?:lincorr|pipeline)(?:\.\w+)+(?![\w/-])", text):
        resolve_name(name)
    for name, path in re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", text):
        assert re.search(rf"^{name}\b", (ROOT / path).read_text("utf-8"), flags=re.MULTILINE), (name, path)


# --- every command of docs/ is run ----------------------------------------------------------------------

PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_NAMED = re.compile(
    r"`([\w-]+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL
)  # in text, where a file has no comments


def commands_of(page: Path) -> list[str]:
    """The lines of a page's `sh` blocks."""
    blocks = [text for kind, text in _BLOCK.findall(page.read_text("utf-8")) if kind == "sh"]
    return [line for text in blocks for line in text.splitlines() if line]


def files_of(page: Path) -> dict[str, str]:
    """The files that a page shows: blocks that begin with a comment naming one, or that follow its name."""
    shown = dict(_NAMED.findall(page.read_text("utf-8")))
    for _, text in _BLOCK.findall(page.read_text("utf-8")):
        first = re.match(r"# (\S+\.\w+)\n", text)
        if first:
            shown[first[1]] = text
    return shown


@pytest.mark.parametrize("page", [p for p in PAGES if commands_of(p)], ids=lambda page: page.stem)
def test_every_command_of_the_pages_runs(
    page: Path, tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the page's order, in one folder, as it is written, then its Python; no workers are started."""
    if page.stem != "relations":  # whose plots stand for those of the others
        blank(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("model", "chat", "llama-3-8b"):
        (tmp_path / name).symlink_to(toy_model)
    for name, text in files_of(page).items():
        (tmp_path / name).write_text(text, "utf-8")
    for command in commands_of(page):
        program, *arguments = shlex.split(command)
        assert program == "lincorr", command
        serial = ["--cluster-kind", "serial"] if takes_settings(arguments[0]) else []
        assert main([*arguments, *serial]) == 0, command
    for kind, text in _BLOCK.findall(page.read_text("utf-8")):
        if kind == "python":
            exec(compile(text, page.name, "exec"), {})


def test_the_python_of_the_readme_runs(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the store that `make demo` makes, here of the toy model."""
    blank(monkeypatch)
    monkeypatch.chdir(tmp_path)
    flags = ["--model", str(toy_model), "--subjects-count", "100", "--cluster-kind", "serial"]
    assert main(["run", *flags, "--store", "runs/demo.zarr"]) == 0
    [program] = [
        text for kind, text in _BLOCK.findall((ROOT / "README.md").read_text("utf-8")) if kind == "python"
    ]
    exec(compile(program, "README.md", "exec"), {})


def takes_settings(verb: str) -> bool:
    """Whether a verb runs tasks."""
    return verb not in ("store", "relations")


def test_the_page_of_relations_counts_them() -> None:
    catalogue = load_catalogue()
    counts = Counter(catalogue.describe(name).family for name in catalogue.names())
    page = (ROOT / "docs" / "relations.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, flags=re.MULTILINE)
    assert {family: int(count) for family, count in told} == counts


if __name__ == "__main__":
    text = CONFIGURATION.read_text("utf-8")
    start = text.index(HEAD)
    end = text.index("\n\n", start)
    CONFIGURATION.write_text(text[:start] + settings_table().rstrip("\n") + text[end:], "utf-8")
