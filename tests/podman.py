"""Containers by Debian's podman, as root, without a registry: storage and settings in a folder of their own.

The base image that a Dockerfile names is a stand-in: Debian with its Python, by debootstrap.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

PROGRAMS = ("podman", "buildah", "runc", "debootstrap")
_HELPERS = tuple(f"/usr/{lib}/podman" for lib in ("local/libexec", "local/lib", "libexec", "lib"))
_MIRROR_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"

_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=8000:8000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""


@dataclass(frozen=True)
class Podman:
    """A podman with a store of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which programs use this store."""
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": str(self.folder / "tmp"),
        }

    def __call__(self, *arguments: object, check: bool = True, timeout: float = 900) -> str:
        """Run podman and return what it prints."""
        done = subprocess.run(
            ["podman", *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"podman {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def build(self, dockerfile: Path, context: Path, name: str) -> None:
        """Build an image with this machine's network and pip settings."""
        volumes = [f"--volume={inside}" for inside in self._pip_settings()]
        options = ["--format=docker", "--layers=false", "--pull=never", "--network=host", *volumes]
        self("build", *options, "--file", dockerfile, "--tag", name, context, timeout=1500)

    def _pip_settings(self) -> list[str]:
        """Return what is mounted in a build: pip's settings here, and what they name."""
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
        ).stdout
        settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, flags=re.MULTILINE))
        path = self.folder / "pip.conf"
        path.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        words = [word for value in settings.values() for word in value.split()]
        named = {Path(word) for word in words if word.startswith("/")}
        named |= {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:/")}
        return [
            f"{path}:/etc/pip.conf:ro",
            *(f"{one}:{one}:ro" for one in sorted(named) if Path(one).exists()),
        ]


@contextmanager
def podman() -> Iterator[Podman]:
    """Yield a podman until the body ends; skip where it cannot be had."""
    needed = {name: shutil.which(name) for name in PROGRAMS}
    needed["netavark"] = shutil.which("netavark", path=os.pathsep.join(_HELPERS))  # Debian only recommends it
    if missing := [name for name, path in needed.items() if path is None]:
        pytest.skip(f"containers need {', '.join(missing)}: apt-get install {' '.join(needed)}")
    if os.geteuid() != 0:
        pytest.skip("containers from debootstrap need root")
    folder = Path(mkdtemp(prefix="podman-"))
    for name in ("tmp", "networks"):
        (folder / name).mkdir()
    (folder / "containers.conf").write_text(_CONTAINERS.format(folder=folder))
    (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
    one = Podman(folder)
    try:
        yield one
    finally:
        one("rm", "--all", "--force", "--time=0", check=False)
        for image in one("images", "--all", "--quiet", check=False).split():
            one("rmi", "--force", image, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def import_base(one: Podman, name: str) -> None:
    """Make the stand-in for a base image; skip where there is no Debian to be had, or podman refuses."""
    root = one.folder / "root"
    options = ["--variant=minbase", f"--include={_MIRROR_PACKAGES}"]
    made = subprocess.run(["debootstrap", *options, "bookworm", root], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"debootstrap gets no Debian: {made.stdout.splitlines()[-1:]}")
    packed = one.folder / "root.tar"
    subprocess.run(["tar", "-C", root, "--exclude=./var/cache/apt/*", "-cf", packed, "."], check=True)
    shutil.rmtree(root)
    one("import", packed, name)
    packed.unlink()
    tried = subprocess.run(
        ["podman", "run", "--rm", "--network=host", name, "true"],
        env=one.environment,
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        pytest.skip(f"podman runs no container here: {tried.stderr.strip()}")
