"""Stores on s3://, on a local server: the bits of a folder, and one clear line for what goes wrong."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import obstore
import pytest
import yaml
import zarr

from lincorr import places
from lincorr.errors import BadInput, LincorrError
from lincorr.places import SharedObject
from lincorr.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline import lease
from pipeline.cli import main
from pipeline.lock import sole_writer

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


# One run at a time

HOLDER = (
    "import sys, time\n"
    "from pipeline import lease\n"
    "lease.SECONDS = 2.0\n"
    "with lease.leased(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def holder(s3: None) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of s3://runs/held.zarr, for 2 seconds after its last renewal."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "s3://runs/held.zarr"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_on_one_bucket_is_refused_until_the_first_is_dead(holder, flags, capsys):
    time.sleep(2.5)  # without its renewals it would have expired
    for verb in ("extract", "run"):
        assert main([verb, *flags, "--store", "s3://runs/held.zarr", "--cluster-kind", "serial"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(
            r"error: store\.path: 's3://runs/held\.zarr' is being written by another run, "
            rf"{socket.gethostname()}:{holder.pid} \(host:process\); wait for it, or name another store\. "
            r"If it is dead, its lock ends at \d\d:\d\d:\d\d UTC",
            line,
        )
    holder.kill()
    holder.wait()
    time.sleep(2.1)
    assert main(["extract", *flags, "--store", "s3://runs/held.zarr", "--cluster-kind", "serial"]) == 0


@pytest.mark.usefixtures("s3")
def test_a_lock_on_a_bucket_is_free_after_the_run(flags):
    extract = ["extract", *flags, "--store", "s3://runs/free.zarr", "--cluster-kind", "serial"]
    assert main(extract) == 0
    held = json.loads(SharedObject("s3://runs/free.zarr.lock").read()[0])
    assert held["holder"] == ""
    assert main(extract) == 0


@pytest.mark.usefixtures("s3")
def test_of_many_who_try_at_once_one_gets_the_lock():
    together = threading.Barrier(6)

    def attempt(_: int) -> bool:
        one = lease._Lease("s3://runs/race.zarr")
        together.wait()
        try:
            one.take()
        except LincorrError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1
        expired = SharedObject("s3://runs/race.zarr.lock")
        content, tag = expired.read()
        expired.replace(json.dumps(json.loads(content) | {"renewed": 0.0}).encode(), tag)
        assert sum(pool.map(attempt, range(6))) == 1  # of an expired one, too


@pytest.mark.usefixtures("s3")
def test_a_run_whose_lock_was_taken_over_stops(monkeypatch):
    monkeypatch.setattr(lease, "SECONDS", 0.6)
    place = SharedObject("s3://runs/taken.zarr.lock")
    theirs = json.dumps({"holder": "other:1", "token": "t", "renewed": time.time(), "seconds": 60}).encode()

    def run() -> None:
        with lease.leased("s3://runs/taken.zarr"):
            while place.replace(theirs, place.read()[1]) is None:  # a renewal came between
                pass
            time.sleep(20)

    with pytest.raises(LincorrError, match=r"was cut off from 's3://runs/taken\.zarr' for so long"):
        run()
    assert place.read()[0] == theirs


@pytest.mark.usefixtures("s3")
def test_where_a_server_knows_no_conditions_there_is_no_lock(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise obstore.exceptions.NotSupportedError("conditional put")

    monkeypatch.setattr(obstore, "put", refuse)
    with lease.leased("s3://runs/old.zarr"), lease.leased("s3://runs/old.zarr"):
        pass


@pytest.mark.usefixtures("s3")
def test_where_nothing_may_be_written_there_is_no_lock_to_read(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise obstore.exceptions.PermissionDeniedError("403")

    monkeypatch.setattr(obstore, "put", refuse)
    with sole_writer("s3://runs/closed.zarr", or_read=True):
        pass
    with pytest.raises(BadInput, match="may not be written"), sole_writer("s3://runs/closed.zarr"):
        pass


@pytest.mark.parametrize(
    ("store", "lock"),
    [
        ("s3://b/run.zarr", "s3://b/run.zarr.lock"),
        ("s3://b/a/run.zarr/", "s3://b/a/run.zarr.lock"),
        ("s3://b", "s3://b/lincorr.lock"),
        ("gs://b/", "gs://b/lincorr.lock"),
    ],
)
def test_the_lock_is_beside_the_store(store, lock):
    assert lease.lease_url(store) == lock
