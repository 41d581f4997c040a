"""Workers that are started by SSH, through a real SSH server on this machine."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage


async def run_command(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """What a login shell does."""
    assert process.command is not None
    child = subprocess.Popen(
        process.command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        process.exit(await asyncio.to_thread(child.wait))
    finally:
        child.kill()
        await process.wait_closed()  # what was redirected is waited for here


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a key and an ~/.ssh/config in which the machine "toy" is a server here."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".ssh").mkdir()
    key, server_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key.write_private_key(folder / ".ssh" / "id")
    (folder / ".ssh" / "authorized").write_bytes(key.export_public_key())
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[server_key],
            authorized_client_keys=str(folder / ".ssh" / "authorized"),
            process_factory=run_command,
            encoding=None,
        )
        port = server.get_port()
        public = server_key.export_public_key().decode().strip()
        (folder / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
        (folder / ".ssh" / "config").write_text(
            f"Host toy\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/.ssh/id\n"
        )
        ready.set()
        await stop.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # what clients were running ends with them
        await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 20)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield folder
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def where(_: int) -> tuple[int, str, str]:
    return os.getpid(), os.environ["OMP_NUM_THREADS"], os.environ["MALLOC_TRIM_THRESHOLD_"]


def test_workers_are_started_by_ssh_with_the_settings_of_local_ones(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # Dask's nannies leave theirs in this process
    settings = ClusterSettings(kind="ssh", hosts=("toy", "toy"), host="127.0.0.1", threads=1)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        executor._client.wait_for_workers(2)
        found = set(executor.run(Stage("where", lambda task: where(task), range(20))))
    assert {(threads, memory) for _, threads, memory in found} == {("1", str(2**30))}
    assert len({process for process, _, _ in found} - {os.getpid()}) == 2


def test_a_machine_that_cannot_be_reached_is_named(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # without a key
    settings = ClusterSettings(kind="ssh", hosts=("127.0.0.1",))
    with (
        pytest.raises(BadInput, match=r"^cluster\.hosts: no cluster can be started on 127\.0\.0\.1 "),
        open_executor(settings, model_bytes=1, tell=lambda _: None),
    ):
        pass
