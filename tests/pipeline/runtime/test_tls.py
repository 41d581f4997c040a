"""TLS between client, scheduler and workers, with certificates of the test's own authority."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lincorr.errors import BadInput
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.config import ClusterSettings, RunConfig, load_config
from pipeline.runtime.clusters import address
from pipeline.runtime.clusters.tls import tls_settings
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def authority(folder: Path, name: str) -> Path:
    """Make an authority and a certificate of it, in a folder as `cluster.tls` wants one."""
    place = folder / name
    place.mkdir()
    for command in (
        f"req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out ca.pem -days 2 -subj /CN={name}",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=lincorr",
        "x509 -req -in request.pem -CA ca.pem -CAkey authority.key -CAcreateserial -days 2 -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=place, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("tls"), "mine")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("tls"), "theirs")


@pytest.fixture(scope="module")
def encrypted(mine: Path) -> Iterator[DaskExecutor]:
    settings = ClusterSettings(kind="local", workers=1, tls=(mine,))
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        yield executor


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_PATIENCE", "2s")


def address_of(executor: DaskExecutor) -> str:
    return str(executor._client.scheduler_info()["address"])


def add_one() -> Any:
    return lambda task: task + 1


def run_at(place: str, tls: Path | None) -> list[int]:
    settings = ClusterSettings(kind="address", address=place, tls=None if tls is None else (tls,))
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        return executor.run(Stage("add", add_one(), [1, 2]))


def test_scheduler_and_workers_speak_tls(encrypted):
    info = encrypted._client.scheduler_info()
    assert info["address"].startswith("tls://127.0.0.1:")
    assert [place.split("://")[0] for place in info["workers"]] == ["tls"]
    assert encrypted.run(Stage("add", add_one(), [1])) == [2]


def test_a_client_with_a_certificate_is_let_in(encrypted, mine):
    assert run_at(address_of(encrypted), mine) == [2, 3]


def test_a_client_of_another_authority_is_refused_in_one_line(encrypted, theirs, impatient):
    with pytest.raises(BadInput, match=r"^cluster\.address: no Dask scheduler answers at 'tls://") as caught:
        run_at(address_of(encrypted), theirs)
    assert "cluster.tls" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_run_without_a_certificate_is_refused_in_one_line(scheme, encrypted, toy_model, tmp_path):
    place = address_of(encrypted).replace("tls://", f"{scheme}://")
    code = (
        "import sys; from pipeline.runtime.clusters import address; address._PATIENCE = '2s'\n"
        "from pipeline.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--model", str(toy_model), "--subjects-count", "20", "--relations", "city-country"]
    options += [
        "--store",
        str(tmp_path / "run.zarr"),
        "--cluster-kind",
        "address",
        "--cluster-address",
        place,
    ]
    command = [sys.executable, "-c", code, "extract", *options]  # Dask's settings here have the certificate
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "cluster.tls" in line
    assert place in line


def test_a_program_without_a_certificate_is_refused(encrypted):
    code = f"from distributed import Client; Client({address_of(encrypted)!r}, timeout='2s')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ssl" in done.stderr.lower()


# The files


def test_three_paths_say_the_same_as_a_folder(mine):
    files = tuple(mine / name for name in ("ca.pem", "cert.pem", "key.pem"))
    assert tls_settings(ClusterSettings(tls=files)) == tls_settings(ClusterSettings(tls=(mine,)))
    assert tls_settings(ClusterSettings(tls=files)) != {}
    assert tls_settings(ClusterSettings()) == {}


def test_files_that_do_not_belong_together_are_refused(mine, theirs):
    files = (mine / "ca.pem", mine / "cert.pem", theirs / "key.pem")
    with pytest.raises(BadInput, match=r"^cluster\.tls: .*three paths$"):
        tls_settings(ClusterSettings(tls=files))


def test_a_key_with_a_password_is_refused_and_not_asked_for(mine, tmp_path):
    locked = tmp_path / "key.pem"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:hush", "-in", str(mine / "key.pem")]
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)
    with pytest.raises(BadInput, match="without a password"):
        tls_settings(ClusterSettings(tls=(mine / "ca.pem", mine / "cert.pem", locked)))


# Secrets


def test_a_run_over_tls_keeps_no_secret(mine, toy_model, tmp_path, capsys):
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    templates = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
    (tmp_path / "toy.yaml").write_text(
        yaml.safe_dump({"templates": templates, "relations": {"toy": relation}})
    )
    flags = ["--model", str(toy_model), "--catalogue", str(tmp_path / "toy.yaml"), "--relations", "toy"]
    flags += ["--subjects-count", "60", "--store", str(tmp_path / "run.zarr"), "--cluster-workers", "1"]
    assert main(["run", *flags, "--cluster-tls", str(mine), "--json"]) == 0
    said = capsys.readouterr()
    secret = (mine / "key.pem").read_text().splitlines()[1]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    for text in (said.out.encode(), said.err.encode(), *(path.read_bytes() for path in written)):
        assert secret.encode() not in text
        assert str(mine).encode() not in text  # not even where it is
    json.loads(said.out)


def test_what_a_store_remembers_has_no_cluster():
    config = RunConfig(
        model="m", cluster=ClusterSettings(kind="address", address="tls://h:1", tls=("secret",))
    )
    kept = json.dumps(config.to_remember())
    assert "cluster" not in kept
    assert "secret" not in kept


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        ({"store.path": "s3://key:secret@bucket/run.zarr"}, "store.path"),
        ({"cluster.kind": "address", "cluster.address": "tcp://me:secret@host:1"}, "cluster.address"),
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(flags, setting):
    with pytest.raises(BadInput) as caught:
        load_config(None, {"model.source": "m"} | flags)
    assert str(caught.value).startswith(f"{setting}: ")
    assert "secret" not in str(caught.value)
