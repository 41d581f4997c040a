"""What extraction asks of a store: of an object store, each is a request."""

import builtins
import io
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from lincorr.store import locations
from pipeline.extract import stage
from pipeline.extract.shard import ExtractTask, extract_shard
from pipeline.runtime.executor import Receipt
from tests.pipeline.extract.extraction import SHARDS, TEMPLATES, extract_here

T = TypeVar("T")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every operation on a store, with its key."""
    asked: list[tuple[str, str]] = []
    explained: Any = locations._Explained

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, key: str, *arguments: Any, **named: Any) -> Any:
            asked.append((name, key))
            return plain(self, key, *arguments, **named)

        return call

    for name in ("get", "get_partial_values", "exists", "set", "set_if_not_exists", "delete", "list_dir"):
        monkeypatch.setattr(explained, name, counted(name, getattr(explained, name)))
    return asked


def by_task(noted: list[T], monkeypatch: pytest.MonkeyPatch) -> list[list[T]]:
    """What an extraction will add to the list, task by task."""
    of_tasks: list[list[T]] = []

    def watched(task: ExtractTask, count: Callable[[int], None]) -> Receipt:
        before = len(noted)
        receipt = extract_shard(task, count)
        of_tasks.append(noted[before:])
        return receipt

    monkeypatch.setattr(stage, "extract_shard", watched)
    return of_tasks


def test_a_shard_takes_a_handful_of_requests(asked, flags, tmp_path, monkeypatch):
    """Each template's record is read, its chunks and record are written; the shard's subjects are read."""
    of_tasks = by_task(asked, monkeypatch)
    extract_here(tmp_path / "run.zarr", flags)
    assert len(of_tasks) == SHARDS
    for requests in of_tasks[1:]:  # the first one opens the store
        assert sum(name == "set" for name, _ in requests) == 3 * len(TEMPLATES)
        assert len(requests) == 3 + 4 * len(TEMPLATES)
    read = [key for name, key in asked if name != "set" and re.match(r"(done|logits|hidden)/.*/c/\d", key)]
    assert len(read) == SHARDS * len(TEMPLATES)  # by tasks: the run itself lists what is there


def test_a_shard_opens_a_handful_of_files(flags, tmp_path, monkeypatch):
    """Each chunk and record once, to read or to write it, and the subjects."""
    store, opened = tmp_path / "run.zarr", list[str]()

    def noted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            if str(path).startswith(str(store)):
                opened.append(str(path))
            return plain(path, *arguments, **named)

        return call

    of_tasks = by_task(opened, monkeypatch)
    monkeypatch.setattr(io, "open", noted(io.open))  # of pathlib, by which Zarr opens files
    monkeypatch.setattr(builtins, "open", noted(open))
    monkeypatch.setattr(os, "open", noted(os.open))
    extract_here(store, flags)
    assert len(of_tasks) == SHARDS
    for paths in of_tasks[1:]:  # the first one opens the store
        assert 3 * len(TEMPLATES) < len(paths) <= 3 + 4 * len(TEMPLATES), paths
