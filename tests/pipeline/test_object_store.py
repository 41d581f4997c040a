"""Stores on s3://, on a local server: the bits of a folder, and one clear line for what goes wrong."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import numpy as np
import obstore
import pytest
import yaml

from lincorr.errors import BadInput, LincorrError
from lincorr.scores.relation_scores import RelationScores
from lincorr.store import locations
from lincorr.store.locations import SharedObject
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, hidden_problem, planted_store
from pipeline.cli.main import main
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.plan import memory as rules
from pipeline.runtime import lease
from pipeline.runtime.executor import Serial
from pipeline.runtime.lock import sole_writer
from tests.pipeline.fit.relations import chosen, planted_relation
from tests.stores import arrays

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
    monkeypatch.setitem(locations._RETRIES, "max_retries", 1)


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
def test_a_whole_run_on_s3_has_the_bits_of_a_local_one(flags, tmp_path):
    local, remote = str(tmp_path / "run.zarr"), "s3://runs/whole/run.zarr"
    for verb in ("extract", "fit", "evaluate"):
        assert main([verb, *flags, "--store", local, "--cluster-kind", "serial"]) == 0
    assert main(["run", *flags, "--store", remote, "--cluster-workers", "1"]) == 0
    mine, theirs = contents(remote), contents(local)
    assert {name for name in mine if mine[name] != theirs.get(name)} == set()
    assert len(mine) == len(theirs) > 10
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


def read(shared: SharedObject) -> tuple[bytes, str]:
    """Its content and tag; it must be there."""
    found = shared.read()
    assert found is not None
    return found


@pytest.mark.usefixtures("s3")
def test_a_lock_on_a_bucket_is_free_after_the_run(flags):
    extract = ["extract", *flags, "--store", "s3://runs/free.zarr", "--cluster-kind", "serial"]
    assert main(extract) == 0
    held = json.loads(read(SharedObject("s3://runs/free.zarr.lock"))[0])
    assert held["holder"] == ""
    assert main(extract) == 0


@pytest.mark.usefixtures("s3")
def test_of_many_who_try_at_once_one_gets_the_lock():
    together = threading.Barrier(6)

    def attempt(_: int) -> bool:
        one = lease._Lease("s3://runs/race.zarr", SharedObject("s3://runs/race.zarr.lock"))
        together.wait()
        try:
            one.take()
        except LincorrError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1
        expired = SharedObject("s3://runs/race.zarr.lock")
        content, tag = read(expired)
        expired.replace(json.dumps(json.loads(content) | {"renewed": 0.0}).encode(), tag)
        assert sum(pool.map(attempt, range(6))) == 1  # of an expired one, too


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    "handler", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"]
)
def test_a_run_whose_lock_was_taken_over_stops(monkeypatch, handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert_a_run_whose_lock_was_taken_over_stops(monkeypatch)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def assert_a_run_whose_lock_was_taken_over_stops(monkeypatch):
    monkeypatch.setattr(lease, "SECONDS", 0.6)
    place = SharedObject("s3://runs/taken.zarr.lock")
    theirs = json.dumps({"holder": "other:1", "token": "t", "renewed": time.time(), "seconds": 60}).encode()

    def run() -> None:
        with sole_writer("s3://runs/taken.zarr"):
            while place.replace(theirs, read(place)[1]) is None:  # a renewal came between
                pass
            time.sleep(20)

    with pytest.raises(LincorrError, match=r"was cut off from 's3://runs/taken\.zarr' for so long"):
        run()
    assert read(place)[0] == theirs
    place.replace(b"", read(place)[1])


class Unconditional:
    """Makes a server as one that knows no conditional PUTs."""

    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer
        self.put = obstore.put

    def __call__(self, store: Any, name: str, content: bytes, mode: object = None) -> object:
        """Put an object; a condition is answered, or (None) ignored."""
        if self.answer is not None and mode != "overwrite":
            raise self.answer
        return self.put(store, name, content, mode="overwrite")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    "answer",
    [
        None,
        obstore.exceptions.NotSupportedError("conditional put"),
        obstore.exceptions.NotModifiedError("304"),
        obstore.exceptions.GenericError("Server returned non-2xx status code: 400 Bad Request: <Error>"),
    ],
    ids=["ignored", "not supported", "304", "400"],
)
def test_where_a_server_knows_no_conditions_the_last_to_write_has_the_lock(monkeypatch, answer):
    monkeypatch.setattr(lease, "_SETTLED", 0.2)
    monkeypatch.setattr(lease, "SECONDS", 0.6)
    monkeypatch.setattr(obstore, "put", Unconditional(answer))
    url = f"s3://runs/{type(answer).__name__}.zarr"
    said: list[str] = []
    held = threading.Event()

    def attempt(_: int) -> bool:
        try:
            with sole_writer(url):
                return held.wait(5)
        except LincorrError:
            return False

    with ThreadPoolExecutor(3) as pool:
        together = pool.map(attempt, range(3))
        time.sleep(0.9)  # of those that began at once, one holds it and renews it
        with pytest.raises(LincorrError, match="is being written by another run"), sole_writer(url):
            pass
        held.set()
        assert sum(together) == 1

    def take_over() -> None:  # as another run would, which the next renewal finds out
        SharedObject(f"{url}.lock").overwrite(b"")
        time.sleep(5)

    with pytest.raises(LincorrError, match="was cut off"), sole_writer(url, tell=said.append):
        take_over()
    assert said == [lease._NO_CONDITIONS.format(url)]


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
