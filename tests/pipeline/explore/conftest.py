"""The finished store of the toy model, opened, and a server that shows it."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.settings import settings_of
from pipeline.config import RunConfig
from pipeline.explore.opened import OpenedStore
from pipeline.explore.server import ExploreServer

EVIL = "<script>document.title='ran'</script>"


@pytest.fixture(scope="session")
def config(finished: Path) -> RunConfig:
    return settings_of(None, {"store.path": str(finished)})


@pytest.fixture(scope="session")
def opened(config: RunConfig) -> OpenedStore:
    return OpenedStore(config)


@pytest.fixture(scope="module")
def served(config: RunConfig) -> Iterator[ExploreServer]:
    """A server of one store, twice, one of whose tokens is a script."""
    store = OpenedStore(config)
    store.texts[store.texts.index("~")] = EVIL
    with ExploreIn([store, store]) as server:
        yield server


class ExploreIn:
    """A server in a thread with an event loop of its own, as in a process of its own."""

    def __init__(self, stores: list[OpenedStore], host: str = "127.0.0.1") -> None:
        self._stores, self._host = stores, host
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> ExploreServer:
        self._thread.start()
        assert self._started.wait(60)
        return self.server

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self.server = ExploreServer(self._stores, self._host)
        self._started.set()
        self.server.serve()
        self.server.stop()
        self._loop.close()
