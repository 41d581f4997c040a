"""A secret in a URL appears nowhere: not in what is printed, nor in stores and reports."""

import sys
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.runtime.console import Narrator

SECRET = "hushhush"
URLS = [f"s3://me:{SECRET}@bucket/run.zarr", f"https://host/run.zarr?sig={SECRET}", f"tcp://{SECRET}@host:1"]


def seen(capfd: pytest.CaptureFixture[str], folder: Path) -> str:
    """All that was printed, and all files and their names."""
    told = capfd.readouterr()
    files = [str(path) + path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    return "".join([told.out, told.err, *files])


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--store"),
        ("run", "--model"),
        ("run", "--model-adapter"),
        ("run", "--cluster-address"),
        ("run", "--cluster-workers"),
        ("run", "--subjects-file"),
        ("run", "--report-folder"),
        ("run", "--catalogue"),
        ("relations", "check", "--model"),
        ("plan", "--gpus", "8", "--model"),
        ("resilience", "--after"),
        ("resilience", "--after", "m", "--after-store"),
        ("store", "info"),
        ("store", "verify"),
        ("show", "Tokyo", "--store"),
        ("run",),
        (),
    ],
)
def test_a_secret_is_refused_and_not_repeated(arguments, url, flags, capfd, tmp_path):
    verb = arguments[0] if arguments else ""
    given = flags if verb in ("run", "plan", "resilience") else []
    assert main([*arguments[:1], *given, *arguments[1:], url]) == 2
    assert SECRET not in seen(capfd, tmp_path)


def test_a_secret_of_the_environment_is_not_repeated(flags, capfd, tmp_path, monkeypatch):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(f"Cannot connect to proxy http://me:{SECRET}@proxy:1 for https://cdn/x?sig={SECRET}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    assert main(["plan", *flags, "--model", "owner/name"]) == 2
    Narrator().tell(f"from http://me:{SECRET}@host")
    said = seen(capfd, tmp_path)
    assert "Cannot connect to proxy http://***@proxy:1 for https://cdn/x?***" in said
    assert SECRET not in said


def test_a_traceback_has_no_secret(flags, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # restored in the end
    with pytest.raises(Exception, match="refused") as caught:
        main(["plan", *flags, "--cluster-workers", URLS[0], "--debug"])
    sys.excepthook(caught.type, caught.value, caught.tb)
    said = seen(capfd, tmp_path)
    assert "Traceback" in said
    assert SECRET not in said
