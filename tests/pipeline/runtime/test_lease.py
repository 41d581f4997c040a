"""The lease of a bucket, on a local server: one of many, and servers without conditions."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore
import pytest

from lincorr.errors import BadInput, LincorrError
from lincorr.store.locations import SharedObject
from pipeline.runtime import lease
from pipeline.runtime.lock import sole_writer
from tests.pipeline.runtime.race import takers


def read(shared: SharedObject) -> tuple[bytes, str]:
    """Its content and tag; it must be there."""
    found = shared.read()
    assert found is not None
    return found


@pytest.mark.usefixtures("s3")
def test_of_many_who_try_at_once_one_gets_the_lock():
    def of_one() -> lease._Lease:
        return lease._Lease("s3://runs/race.zarr", SharedObject("s3://runs/race.zarr.lock"))

    assert takers(of_one, 6) == 1
    expired = SharedObject("s3://runs/race.zarr.lock")
    content, tag = read(expired)
    expired.replace(json.dumps(json.loads(content) | {"renewed": 0.0}).encode(), tag)
    assert takers(of_one, 6) == 1  # of an expired one, too


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
