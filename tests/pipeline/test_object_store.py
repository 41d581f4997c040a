"""Stores on s3://, on a local server: the bits of a folder, and one clear line for what goes wrong."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import numpy as np
import pytest
import yaml
from obstore.exceptions import PermissionDeniedError
from zarr.storage import ObjectStore

from lincorr.errors import BadInput
from lincorr.scores.relation_scores import RelationScores
from lincorr.store import locations, place
from lincorr.store.locations import SharedObject
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, hidden_problem, planted_store
from pipeline.cli.main import main
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.plan import memory as rules
from pipeline.runtime.executor import Serial
from tests.lincorr.store.small_store import IDENTITY
from tests.pipeline.fit.relations import chosen, planted_relation
from tests.stores import arrays


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
        "--subjects-count": 24,
        "--store-shard-rows": 8,
        "--cluster-batch-tokens": 128,
        "--report-folder": tmp_path / "page",
    }
    return [str(part) for option in options.items() for part in option]


def contents(
    url: str, parts: tuple[str, ...] = ("subjects", "columns", "logits", "hidden", "done", "head", "maps")
) -> dict[str, bytes]:
    """Every array of a store, but those of its scratch."""
    return {name: array.tobytes() for name, array in arrays(locations.open_location(url), *parts).items()}


@pytest.mark.usefixtures("s3")
def test_a_whole_run_on_s3_has_the_bits_of_a_local_one(flags, tmp_path, monkeypatch):
    asked, is_hierarchy = Counter[str](), place._is_hierarchy
    monkeypatch.setattr(place, "_is_hierarchy", lambda url: asked.update([url]) or is_hierarchy(url))
    local, remote = str(tmp_path / "run.zarr"), "s3://runs/whole/run.zarr"
    for verb in ("extract", "fit", "evaluate"):
        assert main([verb, *flags, "--store", local, "--cluster-kind", "serial"]) == 0
    assert main(["run", *flags, "--store", remote, "--cluster-workers", "1"]) == 0
    mine, theirs = contents(remote), contents(local)
    assert {name for name in mine if mine[name] != theirs.get(name)} == set()
    assert len(mine) == len(theirs) > 10
    assert asked == {"s3://runs": 2, "s3://runs/whole": 2}  # when planned, and when made
    assert LogitStore.open(remote).maps.load_scores("toy", RelationScores) == LogitStore.open(
        local
    ).maps.load_scores("toy", RelationScores)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(("method", "p"), [("gram", 30), ("dual", 60), ("lowrank", 60), ("tiled", 60)])
def test_a_fit_with_its_scratch_on_s3_has_the_bits_of_a_local_one(method, p, tmp_path, monkeypatch):
    for name, value in {"_PANEL": 32, "_FEWEST_ROWS": 8, "largest_tile": lambda p, memory: 32}.items():
        monkeypatch.setattr(rules, name, value)
    made = hidden_problem(50, 6, p, 12)
    choice = chosen(method, 50, p, 12, width=6)
    inputs = FitInputs(planted_relation(p, 12), np.arange(50), np.arange(2), {"domain": choice}, p, None)
    kept = []
    for url in (str(tmp_path / "run.zarr"), f"s3://runs/scratch/{method}.zarr"):
        store = planted_store(url, made, shard_rows=25)
        assert fit_relation(store, inputs, Serial)
        kept.append(store.maps.load("toy", "domain-ridge").block(range(p), range(12)).tobytes())
    assert kept[0] == kept[1]


@pytest.fixture
def shaky(endpoint: str) -> Iterator[tuple[str, list[str]]]:
    """A server in front of the other that is too busy for three requests of four; what it refused."""
    refused: list[str] = []
    asked: Counter[str] = Counter()

    class Busy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked[self.path + self.command] += 1
            if asked[self.path + self.command] % 4:
                refused.append(f"{self.command} {self.path}")
                status, headers, content = 503, [], b"<Error><Code>SlowDown</Code></Error>"
            else:
                with closing(HTTPConnection(urlsplit(endpoint).netloc)) as behind:
                    behind.request(self.command, self.path, body, dict(self.headers))
                    found = behind.getresponse()
                    status, headers, content = found.status, found.getheaders(), found.read()
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", refused
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("s3")
def test_a_server_that_is_busy_for_a_while_is_asked_again(shaky, endpoint, monkeypatch, tmp_path):
    url, refused = shaky
    made = hidden_problem(20, 4, 8, 8)
    parts = ("subjects", "columns", "logits", "done")
    local = contents(planted_store(str(tmp_path / "run.zarr"), made, shard_rows=10).url, parts)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setitem(locations._RETRIES, "max_retries", 8)
    quick = locations._RETRIES["backoff"] | {"init_backoff": timedelta(milliseconds=1)}
    monkeypatch.setitem(locations._RETRIES, "backoff", quick)
    store = planted_store("s3://runs/busy.zarr", made, shard_rows=10)
    assert store.verify() == []
    assert len(refused) > 50
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert contents("s3://runs/busy.zarr", parts) == local


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
    assert "there is no bucket for 's3://nowhere/run.zarr'; create it, or name another" in line


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("place", ["s3://runs/thesis", "s3://runs"])
def test_objects_of_somebody_else_are_not_taken_over(place, endpoint):
    """A store that fails before its first shard is deleted again, with all that is under its URL."""
    client = boto3.client("s3", endpoint_url=endpoint)
    client.put_object(Bucket="runs", Key="thesis/logits/chapter.tex", Body=b"years of work")
    with pytest.raises(BadInput, match="already exists and is not a lincorr store; name another"):
        LogitStore.create(place, IDENTITY)
    assert client.list_objects_v2(Bucket="runs", Prefix="thesis/")["KeyCount"] == 1


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("inner", ["inner.zarr", "logits/deep/inner.zarr"])
def test_a_store_inside_a_store_is_refused(inner):
    outer = "s3://runs/outer/run.zarr"
    if not LogitStore.exists(outer):
        LogitStore.create(outer, IDENTITY)
    with pytest.raises(BadInput, match=f"'{outer}/{inner}' lies inside another, '{outer}'; name a place"):
        LogitStore.create(f"{outer}/{inner}", IDENTITY)
    LogitStore.create(f"s3://runs/beside/{inner}", IDENTITY)


@pytest.mark.usefixtures("s3")
def test_a_store_where_what_is_above_it_may_not_be_read(monkeypatch):
    """Rights often are those to one prefix of a bucket."""
    exists = ObjectStore.exists

    async def denied(self: "ObjectStore[Any]", key: str) -> bool:
        if not str(self.store.prefix or "").startswith("mine"):
            raise PermissionDeniedError("Access Denied")
        return await exists(self, key)

    monkeypatch.setattr(ObjectStore, "exists", denied)
    LogitStore.create("s3://runs/mine/run.zarr", IDENTITY)


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
    "from pipeline.runtime import lease, lock\n"
    "lease.SECONDS = 2.0\n"
    "with lock.sole_writer(sys.argv[1]):\n"
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
    found = SharedObject("s3://runs/free.zarr.lock").read()
    assert found is not None
    assert json.loads(found[0])["holder"] == ""
    assert main(extract) == 0
