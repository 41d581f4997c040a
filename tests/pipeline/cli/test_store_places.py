"""`lincorr store merge`, `copy` and `compact`."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import boto3
import pytest

from lincorr.store import locations
from lincorr.store.copy import copy_store, files_to_copy
from lincorr.store.locations import open_location
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.cli.main import main
from tests.pipeline.cli.toy import files_of
from tests.stores import arrays

PARTS = ("subjects", "columns", "logits", "hidden", "done", "head", "maps", "asked")


def contents(url: str) -> dict[str, bytes]:
    return {name: part.tobytes() for name, part in arrays(open_location(url), *PARTS).items()}


def test_store_merge(tmp_path, printed):
    whole = hidden_problem(50, 4, 8, 8)
    for name, n in (("a", 20), ("b", 50)):
        part = replace(whole, source=whole.source[:n], target=whole.target[:n])
        planted_store(str(tmp_path / name), part, shard_rows=10)
    a, b = tmp_path / "a", tmp_path / "b"
    before = files_of(b)
    added = json.loads(printed("store", "merge", a, b, "--json"))
    assert added == {"subjects": 30, "templates": [], "shards": 6, "missing": 0}
    assert contents(str(a)) == contents(str(b))
    assert files_of(b) == before
    assert printed("store", "merge", a, b) == "added: 0 subjects, 0 shards\n"


def test_store_merge_of_a_store_with_itself(finished, tmp_path, capsys):
    (tmp_path / "link").symlink_to(finished)
    assert main(["store", "merge", str(finished), str(tmp_path / "link")]) == 2
    assert "are the same place; name two" in capsys.readouterr().err


@pytest.mark.usefixtures("s3")
def test_a_copy_on_s3_has_every_byte_and_comes_back(finished, tmp_path, printed):
    for source, target in ((finished, "s3://runs/copied.zarr"), ("s3://runs/copied.zarr", tmp_path / "back")):
        said = json.loads(printed("store", "copy", source, "--to", target, "--json"))
        assert (said["faults"], said["written"]) == ([], said["files"])
    known = {
        path.relative_to(finished): data for path, data in files_of(finished).items() if data is not None
    }
    back = tmp_path / "back"
    assert {
        path.relative_to(back): data for path, data in files_of(back).items() if data is not None
    } == known
    assert said["bytes"] == sum(map(len, known.values()))


@pytest.mark.usefixtures("s3")
def test_a_copy_that_is_killed_is_no_store_and_goes_on(finished, endpoint, tmp_path, printed, capsys):
    url = "s3://runs/killed.zarr"
    command = [sys.executable, "-m", "pipeline", "store", "copy", str(finished), "--to", url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    client = boto3.client("s3", endpoint_url=endpoint)
    limit = time.monotonic() + 120
    while client.list_objects_v2(Bucket="runs", Prefix="killed.zarr/").get("KeyCount", 0) < 5:
        assert time.monotonic() < limit
        assert process.poll() is None, process.stderr and process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = client.list_objects_v2(Bucket="runs", Prefix="killed.zarr/")["KeyCount"]
    assert main(["store", "info", url]) == 2
    assert "there is no lincorr store" in capsys.readouterr().err
    client.delete_object(Bucket="runs", Key="killed.zarr.lock")  # it would expire in two minutes
    said = json.loads(printed("store", "copy", finished, "--to", url, "--json"))
    assert said["faults"] == []
    assert 0 < said["written"] <= said["files"] - there + 1  # the root is written again
    assert contents(url) == contents(str(finished))


def test_a_copy_counts_the_files_that_arrive(finished, tmp_path):
    steps: list[int] = []
    files = files_to_copy(str(finished))
    copied = copy_store(str(finished), str(tmp_path / "copy"), files, steps.append)
    assert steps == [1] * copied.files
    assert files == files_to_copy(str(tmp_path / "copy"))
    assert copied.files == len(files)


def test_a_copy_lists_each_place_once(finished, tmp_path, printed, monkeypatch):
    """Of a store of a million chunks in a bucket, that is a thousand requests."""
    listed: list[str] = []
    whole: Any = locations._Explained
    plain = whole.list

    def counted(self: Any) -> Any:
        listed.append(str(self))
        return plain(self)

    monkeypatch.setattr(whole, "list", counted)
    printed("store", "copy", finished, "--to", tmp_path / "copy")
    assert len(listed) == len(set(listed)) == 2


def test_a_copy_replaces_nothing(finished, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    for target, said in (
        (tmp_path / "mine", "already exists and is not a lincorr store; name another"),
        (finished, "are the same place; name two"),
        (finished / "inner", "lies inside another"),
    ):
        before = files_of(tmp_path, finished)
        assert main(["store", "copy", str(finished), "--to", str(target)]) != 0
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert files_of(tmp_path, finished) == before


def test_a_copy_of_a_damaged_store_says_so(finished, tmp_path, capsys):
    store = tmp_path / "run.zarr"
    shutil.copytree(finished, store)
    next((store / "hidden/city").rglob("c/0/*")).write_bytes(b"nothing")
    assert main(["store", "copy", str(store), "--to", str(tmp_path / "copy")]) == 1
    assert "template 'city', shard 0: damaged" in capsys.readouterr().out


def test_store_compact_removes_scratch_and_half_files(finished, tmp_path, printed):
    store = tmp_path / "run.zarr"
    shutil.copytree(finished, store)
    before = contents(str(store))
    (store / "scratch" / "toy-domain" / "c").mkdir(parents=True)
    (store / "scratch" / "toy-domain" / "zarr.json").write_text("{}")
    (store / "scratch" / "toy-domain" / "c" / "0").write_bytes(b"12345")
    (store / "logits" / f"zarr.{'0' * 32}.partial").write_bytes(b"123")
    said = json.loads(printed("store", "compact", store, "--json"))
    assert said == {"files": 3, "bytes": 10}
    assert not (store / "scratch").exists()
    assert contents(str(store)) == before
    assert LogitStore.open(str(store)).verify() == []
