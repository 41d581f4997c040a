"""Both images built, and compose.yaml's services run to an end, by a real podman."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker

from lincorr.testing import save_toy_model
from tests.pipeline.cli.toy import write_catalogue
from tests.podman import Podman, import_base, podman
from tests.stores import array

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GIGABYTES = re.compile(r"torch|triton|cupy-|cuda-toolkit|nvidia-(?!ml-py)")  # of CUDA itself

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def base_of(dockerfile: str) -> str:
    text = (DEPLOY / "docker" / dockerfile).read_text("utf-8")
    [name] = re.findall(r"^FROM (\S+)$", text, flags=re.MULTILINE)
    return str(name)


@pytest.fixture(scope="module")
def machine() -> Iterator[Podman]:
    with podman() as one:
        import_base(one, base_of("Dockerfile"))
        yield one


@pytest.fixture(scope="module")
def cpu(machine: Podman) -> str:
    """Name of the CPU image, as users call it."""
    machine.build(DEPLOY / "docker/Dockerfile", ROOT, "lincorr")
    return "lincorr"


def inside(machine: Podman, image: str, code: str) -> str:
    """What Python prints in a container."""
    return machine("run", "--rm", "--network=host", image, "python", "-c", code).strip()


def locked(path: Path) -> dict[str, str]:
    """Package -> version of a lock file, for this kind of machine."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))? \\$", path.read_text(), flags=re.MULTILINE)
    return {name: version for name, version, marker in lines if not marker or Marker(marker).evaluate()}


def normal(names: Iterable[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def check(machine: Podman, image: str, lock: Path) -> None:
    """The image runs as nobody special, has what its lock says and nothing else, and says so."""
    assert (
        inside(machine, image, "import os; print(os.getuid(), os.access('/opt/lincorr', os.W_OK))")
        == "1000 False"
    )
    assert machine("run", "--rm", "--network=host", image, "lincorr", "--version").startswith("lincorr ")
    listed = "import importlib.metadata as m; print(*{f'{d.name}=={d.version}' for d in m.distributions()})"
    installed = normal(inside(machine, image, listed).split())
    bill = json.loads(machine("run", "--rm", "--network=host", image, "cat", "/opt/lincorr/sbom.json"))
    assert bill["bomFormat"] == "CycloneDX"
    assert normal(f"{part['name']}=={part['version']}" for part in bill["components"]) == installed
    wanted = normal(f"{name}=={version}" for name, version in locked(lock).items())
    assert wanted <= installed
    assert {name.split("==")[0] for name in installed - wanted} <= {"lincorr", "pip", "torch"}


def test_the_cpu_image_has_what_its_lock_says_and_runs_as_nobody(machine, cpu):
    check(machine, cpu, DEPLOY / "docker/cpu.lock")
    assert inside(machine, cpu, "import torch, lincorr, pipeline.run; print(torch.version.cuda)") == "None"


def test_the_cuda_image_is_built_but_for_cuda_itself(machine, tmp_path):
    """Its base, its own lines and its lock without the gigabytes of CUDA."""
    for name in ("lincorr", "pipeline", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    lock = tmp_path / "deploy/docker/cuda.lock"
    packages = re.split(r"\n(?=\S)", lock.read_text())
    lock.write_text("\n".join(one for one in packages if not GIGABYTES.match(one)) + "\n")
    machine.build(tmp_path / "deploy/docker/Dockerfile.cuda", tmp_path, "lincorr:cuda")
    try:
        check(machine, "lincorr:cuda", lock)
        code = "import os, dask_cuda; print(os.environ['NVIDIA_VISIBLE_DEVICES'])"
        assert inside(machine, "lincorr:cuda", code) == "all"
    finally:
        machine("rmi", "--force", "lincorr:cuda")


# compose.yaml


class Project:
    """compose.yaml in a folder of its own, with data for the toy model."""

    def __init__(self, machine: Podman, folder: Path) -> None:
        self._machine = machine
        self._name = f"lincorr{os.getpid()}"  # podman remembers networks of a killed run, and their addresses
        shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        self.file, self.data = folder / "deploy/compose.yaml", folder / "data"
        compose = self.file.read_text()
        self.file.write_text(compose.replace("127.0.0.1:8787:8787", "127.0.0.1::8787"))  # any free port
        self.data.mkdir()
        save_toy_model(self.data / "model")
        write_catalogue(self.data / "toy.yaml")
        config: Any = yaml.safe_load((DEPLOY / "config.yaml").read_text())
        config |= {"catalogue": "toy.yaml", "relations": ["toy"], "subjects": {"count": 60}}
        config["cluster"] |= {"batch_tokens": 128, "threads": 1}  # or speed would choose it
        (self.data / "config.yaml").write_text(yaml.safe_dump(config))
        subprocess.run(["chown", "-R", "1000:1000", self.data], check=True)

    def container(self, service: str) -> str:
        """Name of the one container of a service."""
        return f"{self._name}_{service}_1"

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["podman-compose", "--file", self.file, "--project-name", self._name, *arguments],
            env=self._machine.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def project(machine: Podman, cpu: str, tmp_path: Path) -> Iterator[Project]:
    if shutil.which("podman-compose") is None:
        pytest.skip("podman-compose is not installed: apt-get install podman-compose")
    one = Project(machine, tmp_path)
    one("up", "--detach", "scheduler", "worker")
    yield one
    one("down")


def health(machine: Podman, name: str) -> str:
    """Run a container's own check as a timer would, and return what podman holds of it then."""
    machine("healthcheck", "run", name, check=False)
    return machine("inspect", "--format", "{{.State.Health.Status}}", name).strip()


def becomes(machine: Podman, name: str, status: str, seconds: float = 180) -> bool:
    """Whether checks say so in that time; failures of the first minute count for nothing."""
    end = time.monotonic() + seconds
    while health(machine, name) != status:
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def test_a_run_in_containers_has_the_bits_of_a_run_here(machine, project, tmp_path):
    for name in map(project.container, ("scheduler", "worker")):
        assert becomes(machine, name, "healthy"), machine("logs", name)
    torch = (
        "import torch, numpy, transformers as t; print(torch.__version__, numpy.__version__, t.__version__)"
    )
    here = subprocess.run([sys.executable, "-c", torch], check=True, capture_output=True, text=True).stdout
    if inside(machine, "lincorr", torch) != here.strip():
        pytest.skip(f"bits of other versions may differ: {here} here")
    project("run", "--rm", "client")
    run = [sys.executable, "-m", "pipeline", "run", "config.yaml", "--cluster-kind", "serial"]
    options = ["--store", str(tmp_path / "here.zarr"), "--report-folder", str(tmp_path / "here")]
    config = yaml.safe_load((project.data / "config.yaml").read_text())
    del config["cluster"]["address"]
    (project.data / "config.yaml").write_text(yaml.safe_dump(config))
    subprocess.run(
        [*run, *options],
        check=True,
        cwd=project.data,
        env={**machine.environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    there, here = project.data / "run.zarr", tmp_path / "here.zarr"
    assert there.stat().st_uid == 1000
    for name in ("logits/city", "logits/country", "hidden/city"):
        assert array(here, name).tobytes() == array(there, name).tobytes(), name
    maps = [path for path in sorted(here.glob("maps/**/c/**/*")) if path.is_file()]
    assert maps
    for path in maps:
        assert path.read_bytes() == (there / path.relative_to(here)).read_bytes(), path
    assert (project.data / "run-report/report.html").exists()


@pytest.mark.parametrize("service", ["scheduler", "worker"])
def test_a_container_that_hangs_is_unhealthy_until_it_answers_again(service, machine, project):
    name = project.container(service)
    assert becomes(machine, name, "healthy"), machine("logs", name)
    processes = [int(line) for line in machine("top", name, "hpid").split()[1:]]
    try:
        signal_all(processes, signal.SIGSTOP)
        assert health(machine, name) == "healthy"  # once is no illness
        assert becomes(machine, name, "unhealthy", 600)
    finally:
        signal_all(processes, signal.SIGCONT)
    assert health(machine, name) == "healthy"


def signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)
