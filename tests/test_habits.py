"""What contributors rely on: one list of checks, one version, a licence that is in the package."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli.main import main

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("$(BIN)", ".venv/bin")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, flags=re.MULTILINE)
    assert found, target
    return [line.strip() for line in found[1].splitlines()]


def test_hooks_run_the_commands_of_make_check() -> None:
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == recipe("check")
    assert {(hook["language"], hook["pass_filenames"]) for hook in local["hooks"]} == {("system", False)}


def test_hooks_are_valid() -> None:
    pre_commit = pytest.importorskip("pre_commit.clientlib")
    assert pre_commit.load_config(ROOT / ".pre-commit-config.yaml")


def test_make_test_checks_the_code_and_builds_the_site() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^test:.* check docs( |$)", text, flags=re.MULTILINE)
    assert recipe("docs") == ["NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict"]


TARGETS = sorted({*re.findall(r"`make (\w+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))})


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_contributors_are_told_of_exists(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    assert next(name for name in versions if name != "Unreleased") == PROJECT["version"]


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"lincorr \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_lock_has_every_dependency_with_a_hash() -> None:
    """After a change of dependencies: `make lock`."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    entries = re.findall(
        r"^(\S+)==(\S+)(?: ; (.*?))? \\\n((?:    --hash=sha256:\w{64}.*\n)+)", text, flags=re.MULTILINE
    )
    assert len(entries) == len(re.findall(r"^\S", text, flags=re.MULTILINE)) > 100
    locked: dict[str, list[str]] = {}
    for name, version, _, _ in entries:
        locked.setdefault(name, []).append(version)
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["docs"], *extras["dev"]]:
        wanted = Requirement(line)
        if wanted.name not in ("torch", "lincorr"):  # the first comes from an index of its own
            found = locked.get(canonicalize_name(wanted.name), [])
            assert found, f"{wanted.name} is not in requirements.lock"
            assert all(wanted.specifier.contains(version) for version in found), line


def test_the_licence_is_in_the_package() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text("utf-8")
