"""A real SLURM of Debian's programs, in a folder and on ports of its own, with two nodes; nothing in /etc."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import pytest

from pipeline.config import ClusterSettings

JOB = ClusterSettings(
    kind="slurm",
    host="127.0.0.1",
    queue="cpu",
    walltime="00:05:00",
    memory="2GB",
    cpus=1,
    workers=1,
    threads=1,
)
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
_PATIENCE = 60  # seconds

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
ReturnToService=2
KillWait=5
SlurmdTimeout=10
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=20000 Gres=gpu:4
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=20000 Gres=gpu:4
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n1,n2 MaxTime=5 State=UP
PartitionName=paid Nodes=n1 AllowAccounts=phys State=UP
"""


def with_(**changes: Any) -> ClusterSettings:
    return JOB.model_copy(update=changes)


def queue(*options: str) -> list[str]:
    """The lines of `squeue`, such as "12 RUNNING n1", of the user's jobs."""
    command = ["squeue", "--noheader", "--me", "--format=%i %T %N", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def wait_until(condition: object, what: str, patience: float = _PATIENCE) -> None:
    """Wait for a function to return something true."""
    limit = time.monotonic() + patience
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, what
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as open_:
        sockets = [open_.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _write(folder: Path) -> None:
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool/n1", "spool/n2", "log", "run"):
        (folder / name).mkdir(parents=True)
    (folder / "log").chmod(0o700)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    for i in range(4):  # make-believe GPUs: /dev/null's twins
        os.mknod(folder / f"run/gpu{i}", 0o20666, os.makedev(1, 3))
    (folder / "slurm.conf").write_text(_CONF.format(host=host, folder=folder, ports=_free_ports(3)))
    (folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={folder}/run/gpu[0-3]\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")


@contextmanager
def slurm() -> Iterator[Path]:
    """Run a SLURM until the body ends, and yield its folder; `SLURM_CONF` names its settings meanwhile.

    Skip where that is not possible.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"SLURM is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a SLURM of one's own needs root")
    folder = Path(mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged wants it; a folder of pytest's lies in one that is private
    _write(folder)
    run, before = folder / "run", os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    munge = ("key-file=../munge.key", "socket=munge.socket", "pid-file=munged.pid", "seed-file=munged.seed")
    options = [f"--{name}={(run / value).resolve()}" for name, value in (one.split("=") for one in munge)]
    try:
        subprocess.run(["munged", *options, f"--log-file={folder}/log/munged.log"], check=True)
        subprocess.run(["slurmctld"], check=True)
        for node in ("n1", "n2"):
            subprocess.run(["slurmd", "-N", node], check=True)
        idle = ["sinfo", "-hN", "-p", "cpu", "-t", "idle"]
        wait_until(
            lambda: len(subprocess.run(idle, capture_output=True, text=True).stdout.splitlines()) == 2,
            "SLURM's nodes do not come up",
        )
        yield folder
        subprocess.run(["scancel", "--me"], check=True)
        wait_until(lambda: not queue(), "jobs do not end")
    finally:
        for name in ("n1", "n2", "slurmctld", "munged"):
            with suppress(FileNotFoundError, psutil.Error):
                daemon = psutil.Process(int((run / f"{name}.pid").read_text()))
                daemon.terminate()
                daemon.wait(10)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)
