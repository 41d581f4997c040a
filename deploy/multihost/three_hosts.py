"""Three hosts on one machine: network namespaces on a bridge, each with an address of its own.

`python deploy/multihost/three_hosts.py FOLDER` runs extraction and fits over them with a tiny model, cuts one
host's cable in mid-run, plugs it in again, and compares store and maps with those of a run in one process.
It needs root and iproute2.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zarr

from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES, save_toy_model

HOSTS = ("front", "near", "far")  # the scheduler and the user; a worker; a worker whose cable is cut
TEMPLATES = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
SUBJECTS, SHARD_ROWS = 400, 4
PATIENCE = 60  # seconds until something that must happen has failed to
SILENCE = "11s"  # the least that Dask takes; after it a connection without an answer counts as cut


class Network:
    """A bridge and a namespace a host; the names carry this process's id, so that two tests can run."""

    def __init__(self) -> None:
        self._id = os.getpid() % 10_000
        self._net = 10 + self._id % 200  # 10.199.net.0/24
        self._started: list[subprocess.Popen[bytes]] = []

    def address(self, host: str) -> str:
        """Return a host's address."""
        return f"10.199.{self._net}.{HOSTS.index(host) + 1}"

    def make(self) -> None:
        """Lay the cables.

        Raises:
            OSError: this machine does not allow it.
        """
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("link", "set", self._bridge, "up")
        for host in HOSTS:
            _ip("netns", "add", self._space(host))
            _ip(
                "link",
                "add",
                self._cable(host),
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                self._space(host),
            )
            _ip("link", "set", self._cable(host), "master", self._bridge, "up")
            for command in (
                ["address", "add", f"{self.address(host)}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
            ):
                _ip("-n", self._space(host), *command)

    def remove(self) -> None:
        """End what was started and take everything away, also what was made by half."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for host in HOSTS:
            _ip("netns", "delete", self._space(host), may_fail=True)
        _ip("link", "delete", self._bridge, may_fail=True)

    def plug(self, host: str, state: str) -> None:
        """Set a host's cable "down" or "up"."""
        _ip("link", "set", self._cable(host), state)

    def start(self, host: str, log: Path, *module: str, keep: bool = False) -> subprocess.Popen[bytes]:
        """Start a Python module on a host.

        Args:
            keep: start it again whenever it ends: Dask's workers end when they lose their scheduler.
        """
        command = [sys.executable, "-m", *module]
        if keep:
            command = ["sh", "-c", 'while true; do "$@"; sleep 0.2; done', "sh", *command]
        # Dask's own time of 30 s is what a cluster should have; a test has no patience.
        environment = os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": SILENCE, "OMP_NUM_THREADS": "1"}
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._space(host), *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    @property
    def _bridge(self) -> str:
        return f"lc{self._id}"

    def _space(self, host: str) -> str:
        return f"lincorr-{self._id}-{host}"

    def _cable(self, host: str) -> str:
        return f"lc{self._id}{host}"


def _ip(*arguments: str, may_fail: bool = False) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def network() -> Iterator[Network]:
    """Three hosts, taken away at the end whatever happens.

    Raises:
        OSError: this machine does not allow it.
    """
    net = Network()
    try:
        net.make()
        yield net
    finally:
        net.remove()


def why_not() -> str | None:
    """Return why this machine can have no network of its own, or None if it can."""
    if not sys.platform.startswith("linux") or shutil.which("ip") is None:
        return "needs Linux and iproute2"
    try:
        with network():
            return None
    except OSError as problem:
        return f"needs root and network namespaces ({problem})"


def settings(folder: Path) -> list[str]:
    """Write a toy model, a catalogue and subjects; return the flags of a run with many small shards."""
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump({"templates": TEMPLATES, "relations": {"toy": relation}}))
    ends = ("", "!", "?", " in Rome", " or not")
    words = [f"{a} {b}{end}" for b in COUNTRIES for end in ends for a in CITIES]
    (folder / "subjects.txt").write_text("\n".join(words[:SUBJECTS]))
    options = {
        "--model": save_toy_model(folder / "model"),
        "--catalogue": folder / "toy.yaml",
        "--relations": "toy",
        "--subjects-kind": "strings",
        "--subjects-file": folder / "subjects.txt",
        "--store-shard-rows": SHARD_ROWS,
        "--cluster-batch-tokens": 128,
        "--fit-method": "tiled",  # in stages, on the workers
        "--fit-memory": 1,  # decides the tiles
    }
    return [str(part) for option in options.items() for part in option]


def records(store: Path) -> int:
    """Count the done-records of shards."""
    return sum(1 for _ in store.glob("done/*/c/*/0"))


def run_over_three_hosts(net: Network, folder: Path, flags: list[str]) -> None:
    """Extract and fit with a worker on each of two hosts, one of which is cut off for a while.

    Raises:
        AssertionError: something that must happen did not.
    """
    store, log = folder / "hosts.zarr", folder / "scheduler.log"
    front = net.address("front")
    address = f"tcp://{front}:8786"
    net.start("front", log, "dask", "scheduler", "--host", front, "--port", "8786", "--no-dashboard")
    for host in ("near", "far"):
        worker = ("dask", "worker", address, "--host", net.address(host), "--nthreads", "2", "--no-dashboard")
        net.start(host, folder / f"{host}.log", *worker, "--memory-limit", "0", keep=True)
    common = [*flags, "--store", str(store), "--cluster-kind", "address", "--cluster-address", address]

    _wait("two workers", lambda: log.exists() and log.read_text().count("Register worker") >= 2)
    extraction = net.start("front", folder / "extract.log", "pipeline", "extract", *common)
    total = len(TEMPLATES) * (SUBJECTS // SHARD_ROWS)
    _wait("a first shard", lambda: records(store) > 0 or extraction.poll() is not None)
    net.plug("far", "down")
    cut_at = records(store)
    assert cut_at < total, "extraction was over before the cable was cut"
    alone = start_alone(folder, flags)  # meanwhile
    _wait("the scheduler misses a worker", lambda: "Remove worker" in log.read_text())
    assert extraction.poll() is None, "extraction did not wait for the shards of the lost host"
    net.plug("far", "up")
    assert extraction.wait(PATIENCE) == 0, (folder / "extract.log").read_text()
    _wait("the host joins again", lambda: log.read_text().count("Register worker") >= 3)
    fit = net.start("front", folder / "fit.log", "pipeline", "fit", *common)
    assert fit.wait(PATIENCE) == 0, (folder / "fit.log").read_text()
    assert alone.wait(PATIENCE) == 0, (folder / "alone.log").read_text()
    print(f"cut at {cut_at} of {total} records; the other host went on, and the lost one joined again")


def _wait(what: str, condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"nothing happened: {what}")
        time.sleep(0.005)


def start_alone(folder: Path, flags: list[str]) -> subprocess.Popen[bytes]:
    """Extract and fit in one process, as many threads as a worker has."""
    code = (
        "import sys; from pipeline.cli.main import main\n"
        "sys.exit(main(['extract', *sys.argv[1:]]) or main(['fit', *sys.argv[1:]]))"
    )
    alone = [*flags, "--store", str(folder / "alone.zarr"), "--cluster-kind", "serial"]
    with (folder / "alone.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, *alone],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def differences(store: Path, right: Path) -> list[str]:
    """Name what is not bit for bit the same in two stores: rows, head and maps."""
    faults = list(LogitStore.open(str(store)).verify())
    mine, theirs = (_arrays(path) for path in (store, right))
    assert any(name.startswith("maps/") for name in theirs)
    assert list(theirs) == list(mine), "the stores hold other arrays"
    for name in theirs:
        if name.startswith("done/"):
            continue  # checksums, and the time
        if np.asarray(mine[name][...]).tobytes() != np.asarray(theirs[name][...]).tobytes():
            faults.append(f"{name}: other bits")
    return faults


def _arrays(store: Path) -> dict[str, zarr.Array[Any]]:
    members = zarr.open_group(str(store), mode="r").members(max_depth=None)
    return {name: part for name, part in sorted(members) if isinstance(part, zarr.Array)}


def main() -> int:
    """Run it in a folder and say what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default="hosts", help="is made; stores and logs go here"
    )
    parser.add_argument("--check", action="store_true", help="say only whether it can be run here")
    given = parser.parse_args()
    folder, reason = given.folder, why_not()
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    if given.check:
        return 0
    folder.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and clean up
    flags = settings(folder)
    with network() as net:
        run_over_three_hosts(net, folder, flags)
    faults = differences(folder / "hosts.zarr", folder / "alone.zarr")
    print("\n".join(faults) or "store and maps: every bit as in a run on one host")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
