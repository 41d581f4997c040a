"""Workers started by SSH through OpenSSH's own server, on this machine's loopback address."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
PATIENCE = 60  # seconds until something that must happen has failed to

pytestmark = pytest.mark.skipif(
    SSHD is None or os.geteuid() != 0, reason="needs OpenSSH's server (openssh-server), and root to start it"
)


@dataclass
class Server:
    """A server, and the home of one who may log in to it as the machines "here" and "there"."""

    process: psutil.Popen
    home: Path

    def of_ours(self) -> list[psutil.Process]:
        """What runs in its sessions, and outlives them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("LINCORR_TEST_SERVER") == str(self.home):
                    found.append(process)
        return found


def key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    ssh = folder / ".ssh"
    ssh.mkdir()
    for name in ("host", "id", "another"):
        key(ssh / name)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    shutil.copy(ssh / "id.pub", ssh / "authorized")
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {(ssh / 'host.pub').read_text()}")
    machines = "Host here there\n  HostName 127.0.0.1\n"
    (ssh / "config").write_text(f"{machines}  Port {port}\n  IdentityFile {ssh}/id\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {ssh}/host\nAuthorizedKeysFile {ssh}/authorized\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin yes\nPidFile none\nSetEnv LINCORR_TEST_SERVER={folder} "
        f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}\n"
    )
    chroot = Path("/run/sshd")  # where the part of the server that talks to strangers is locked up
    made = not chroot.exists()
    chroot.mkdir(mode=0o755, exist_ok=True)
    assert SSHD is not None
    log = str(folder / "log")
    process = psutil.Popen([SSHD, "-D", "-E", log, "-f", str(folder / "sshd_config")])
    (folder / "log").touch()
    wait_for(lambda: b"listening on" in Path(log).read_bytes())
    yield Server(process, folder)
    for part in [*process.children(recursive=True), process]:
        part.kill()
    process.wait()
    if made:
        chroot.rmdir()


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.05)


@pytest.fixture
def home(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the home, to be spoilt."""
    shutil.copytree(server.home / ".ssh", tmp_path / ".ssh")
    config = tmp_path / ".ssh" / "config"
    config.write_text(config.read_text().replace(str(server.home), str(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def settings(**more: object) -> ClusterSettings:
    return ClusterSettings.model_validate(
        {"kind": "ssh", "hosts": ("here", "there"), "host": "127.0.0.1", "threads": 1} | more
    )


def refusal() -> str:
    with (
        pytest.raises(BadInput) as caught,
        open_executor(settings(), model_bytes=1, tell=lambda _: None),
    ):
        pass
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_host_that_is_not_known_is_one_line(home, server):
    (home / ".ssh" / "known_hosts").unlink()
    line = refusal()
    assert line.startswith("cluster.hosts: no cluster can be started on here, there (")
    assert "Host key is not trusted" in line
    assert "ssh HOST" in line
    assert server.of_ours() == []


def test_a_key_that_the_host_does_not_take_is_one_line(home, server):
    shutil.copy(home / ".ssh" / "another", home / ".ssh" / "id")
    shutil.copy(home / ".ssh" / "another.pub", home / ".ssh" / "id.pub")
    assert refusal().startswith(
        "cluster.hosts: no cluster can be started on here, there (Cluster failed to start: Permission denied"
    )
    assert server.of_ours() == []


def test_a_host_without_our_python_is_one_line(home, server, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    line = refusal()
    assert line.startswith("cluster.hosts: no cluster can be started on here, there (")
    wait_for(lambda: server.of_ours() == [])


@pytest.mark.usefixtures("home")
def test_a_host_that_is_lost_has_its_tasks_run_elsewhere_and_nothing_is_left(server):
    said: list[str] = []

    def where(task: int) -> tuple[int, int]:
        time.sleep(0.1)
        return task, os.getpid()

    with open_executor(settings(), model_bytes=1, tell=said.append) as executor:
        assert isinstance(executor, DaskExecutor)
        executor._client.wait_for_workers(2, timeout=PATIENCE)
        assert len(server.of_ours()) >= 5  # a scheduler, two workers, and what started these
        lost: list[int] = []

        def lose(result: tuple[int, int]) -> None:
            """All processes of one worker's session end, as with its machine."""
            if not lost:
                lost.append(result[1])
                worker = psutil.Process(result[1])
                for part in (worker.parent(), worker):
                    assert part is not None
                    part.kill()

        done = executor.run(Stage("where", where, range(24)), lose)
        assert [task for task, _ in done] == list(range(24))
        assert {process for task, process in done[-5:]}.isdisjoint(lost)
    assert [line for line in said if line.startswith("1 worker died: killed, or its machine or connection")]
    wait_for(lambda: server.of_ours() == [])


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_lost_connections_leave_no_process(server):
    """The sessions end, what they started does not: scheduler and workers go on, and end with the run."""

    def square(task: int) -> int:
        time.sleep(0.1)
        return task * task

    with open_executor(settings(), model_bytes=1, tell=lambda _: None) as executor:

        def cut(_: int) -> None:
            for session in server.process.children():
                session.kill()

        assert executor.run(Stage("square", square, range(24)), cut) == [n * n for n in range(24)]
    wait_for(lambda: server.of_ours() == [])
