"""Stores on s3://, on a local server: the bits of a folder, and one clear line for what goes wrong."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml
import zarr

from lincorr import places
from lincorr.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli import main

SERVER = (
    "from moto.server import ThreadedMotoServer as S; import time\n"
    "s = S('127.0.0.1', 0, verbose=False); s.start(); print(s.get_host_and_port()[1], flush=True)\n"
    "time.sleep(600)"
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server in a process of its own, with the bucket `runs`."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    request = urllib.request.Request(f"{url}/runs", method="PUT")
    urllib.request.urlopen(request).close()
    yield url
    server.kill()
    server.communicate()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setitem(places._RETRIES, "max_retries", 1)


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path) -> list[str]:
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    templates = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
    (tmp_path / "toy.yaml").write_text(
        yaml.safe_dump({"templates": templates, "relations": {"toy": relation}})
    )
    options = {
        "--model": toy_model,
        "--catalogue": tmp_path / "toy.yaml",
        "--relations": "toy",
        "--subjects-count": 40,
        "--store-shard-rows": 8,
        "--cluster-batch-tokens": 128,
        "--report-folder": tmp_path / "page",
    }
    return [str(part) for option in options.items() for part in option]


def contents(url: str) -> dict[str, bytes]:
    """Every array of a store, but those of its scratch."""
    found = {}
    for part in ("subjects", "columns", "logits", "hidden", "done", "head", "maps"):
        group = zarr.open_group(places.open_place(url), mode="r", path=part)
        for name, array in group.members(max_depth=None):
            if isinstance(array, zarr.Array):
                found[f"{part}/{name}"] = array[...].tobytes()
    return found


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("method", ["auto", "gram"])
def test_a_whole_run_on_s3_has_the_bits_of_a_local_one(method, flags, tmp_path):
    local, remote = str(tmp_path / "run.zarr"), f"s3://runs/{method}/run.zarr"
    more = ["--fit-method", method]
    assert main(["run", *flags, *more, "--store", local, "--cluster-kind", "serial"]) == 0
    assert main(["run", *flags, *more, "--store", remote, "--cluster-workers", "1"]) == 0
    mine, theirs = contents(remote), contents(local)
    assert {name for name in mine if mine[name] != theirs.get(name)} == set()
    assert len(mine) == len(theirs) > 10
    assert LogitStore.open(remote).maps.load_scores("toy") == LogitStore.open(local).maps.load_scores("toy")


@pytest.mark.usefixtures("s3")
def test_a_lost_object_is_found_and_repaired(flags, endpoint, capsys):
    extract = ["extract", *flags, "--store", "s3://runs/lost.zarr", "--cluster-kind", "serial", "--json"]
    assert main(extract) == 0
    whole = contents("s3://runs/lost.zarr")
    client = boto3.client("s3", endpoint_url=endpoint)
    client.delete_object(Bucket="runs", Key="lost.zarr/logits/city/c/2/0")
    capsys.readouterr()
    assert main(["store", "verify", "s3://runs/lost.zarr"]) == 1
    assert "template 'city', shard 2: damaged" in capsys.readouterr().out
    assert main(extract) == 0
    assert '"shards": 1' in capsys.readouterr().out
    assert contents("s3://runs/lost.zarr") == whole


def refusal(flags: list[str], store: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Extract; return the exit code and the one line that was said."""
    code = main(["extract", *flags, "--store", store, "--cluster-kind", "serial"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: store.path: ")
    return code, line


@pytest.mark.usefixtures("s3")
def test_no_such_bucket(flags, capsys):
    code, line = refusal(flags, "s3://nowhere/run.zarr", capsys)
    assert code == 2, line
    assert "there is no bucket for 's3://nowhere/run.zarr'; make it, or name another" in line


@pytest.mark.usefixtures("s3")
def test_no_server(flags, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    code, line = refusal(flags, "s3://runs/run.zarr", capsys)
    assert code == 1
    assert "'s3://runs/run.zarr' cannot be reached" in line
    assert "AWS_ENDPOINT_URL" in line


@pytest.mark.usefixtures("s3")
def test_no_credentials(flags, capsys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")  # where a machine's own would come from
    code, line = refusal(flags, "s3://runs/run.zarr", capsys)
    assert code == 1
    assert "AWS_ACCESS_KEY_ID" in line
