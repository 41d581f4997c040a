"""What every place is asked for, against the real signatures where their packages are installed."""

import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings, load_config
from pipeline.runtime import dask_executor as clusters
from pipeline.runtime.clusters.gpus import gpu_options
from pipeline.runtime.clusters.kubernetes import cluster_resource
from pipeline.runtime.clusters.slurm import slurm_options, slurm_threads
from pipeline.runtime.clusters.ssh import ssh_options
from pipeline.runtime.clusters.worker_settings import dask_settings, inheritance
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage

KUBERNETES = Path(__file__).parents[3] / "deploy" / "kubernetes"
SLURM = ClusterSettings(
    kind="slurm",
    host="127.0.0.1",
    queue="gpu",
    walltime="01:00:00",
    memory="64GB",
    cpus=16,
    gpus=2,
    directives=("--constraint=a100",),
)
INHERITED = dask_settings(8, keep_memory=True)

# Settings


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        ("kind: ssh", "hosts"),
        ("kind: slurm, cpus: 2, memory: 4GB", "host"),
        ("kind: slurm, host: h, memory: 4GB", "cpus"),
        ("kind: slurm, host: h, cpus: 2", "memory"),
        ("kind: kubernetes", "spec"),
        ("kind: local, queue: gpu", "queue"),
        ("kind: local, gpus: 1", "gpus"),
        ("kind: serial, host: 127.0.0.1", "host"),
        ("kind: kubernetes, spec: s, tls: t", "tls"),
        ("kind: ssh, hosts: [a], workers: 2", "workers"),
        ("kind: local, workers: 2, maximum: 3", "workers"),
        ("kind: local, minimum: 2", "minimum"),
        ("kind: local, minimum: 3, maximum: 2", "maximum"),
        ("kind: gpus, protocol: ucx, tls: t", "protocol"),
        ("kind: gpus, gpus_per_worker: 2, pool: 9GB", "pool"),
        ("kind: gpus, gpus_per_worker: 2, protocol: ucx", "protocol"),
        ("kind: ssh, hosts: [a, b, a], gpus_per_worker: 2", "hosts"),
        ("kind: ssh, hosts: [a], gpus: 8, gpus_per_worker: 4", "gpus"),
        ("kind: slurm, host: h, cpus: 2, memory: 4GB, gpus: 8, gpus_per_worker: 4", "gpus"),
        ("tls: [a, b]", "tls"),
        ("kind: address, address: 'tls://h:1'", "tls"),
        ("kind: address, address: 'tcp://h:1', tls: t", "address"),
    ],
)
def test_settings_of_a_place_that_do_not_fit_are_refused(cluster, name, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"model: m\ncluster: {{{cluster}}}\n")
    with pytest.raises(BadInput, match=rf"^cluster\.{name}: ") as caught:
        load_config(path, {})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        ("gpus", "dask_cuda", "gpu"),
        ("slurm", "dask_jobqueue", "cluster"),
        ("kubernetes", "dask_kubernetes", "cluster"),
        ("ssh", "asyncssh", "cluster"),
    ],
)
def test_a_package_that_is_missing_is_named(kind, package, extra, tmp_path):
    settings = {"ssh": {"hosts": ("a",)}, "kubernetes": {"spec": KUBERNETES / "cluster.yaml"}, "slurm": {}}
    code = (
        "import sys, importlib.util\n"
        f"sys.modules[{package!r}] = None\n"
        f"find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name == {package!r} else find(name, *a)\n"
        "from pathlib import Path, PosixPath\n"
        "from pipeline.runtime.dask_executor import open_executor\n"
        "from pipeline.config import ClusterSettings\n"
        f"settings = ClusterSettings(kind={kind!r}, **{settings.get(kind, {})!r})\n"
        "try:\n"
        "    with open_executor(settings, model_bytes=1, tell=lambda line: None): pass\n"
        "except Exception as problem: print(type(problem).__name__, problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name = package.replace("_", "-")
    line = f"BadInput cluster.kind: {kind} needs the package {name}; run `pip install 'lincorr[{extra}]'`"
    assert done.stdout.splitlines() == [line]


# What workers on other machines get


def test_settings_reach_another_process_by_one_variable(monkeypatch):
    variable = inheritance(INHERITED)
    code = (
        "import distributed, dask\n"
        "print(dask.config.get('distributed.scheduler.work-stealing'))\n"
        "print(dask.config.get('distributed.worker.memory.pause'))\n"  # not ours: as it was
        "print(dask.config.get('distributed.nanny.pre-spawn-environ'))\n"
    )
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    stealing, pause, variables = done.stdout.splitlines()
    assert (stealing, pause) == ("False", "0.8")
    assert "'MALLOC_TRIM_THRESHOLD_': 1073741824" in variables
    assert "'OMP_NUM_THREADS': 8" in variables


# SLURM


@pytest.fixture
def slurm() -> Callable[..., Any]:
    """Make a SLURMCluster, and so its scheduler, without any job."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from dask_jobqueue.slurm import SLURMJob

    def job_script(settings: ClusterSettings) -> str:
        options = slurm_options(settings, INHERITED)
        for name in ("scheduler_options", "security"):
            options.pop(name)
        with dask.config.set({"jobqueue.slurm.log-directory": None}):
            return str(SLURMJob("tcp://10.0.0.1:8786", name="w", **options).job_script())

    return job_script


def test_a_slurm_job_asks_for_gpus_and_starts_a_worker_for_each(slurm):
    script = slurm(SLURM)
    for line in (
        "#SBATCH -p gpu",
        "#SBATCH -t 01:00:00",
        "#SBATCH --cpus-per-task=16",
        "#SBATCH --constraint=a100",
        "#SBATCH --gres=gpu:2",
    ):
        assert line in script.splitlines()
    assert "-m dask_cuda.cli tcp://10.0.0.1:8786" in script
    assert "--nthreads 2" in script
    assert "--resources GPU=1" in script
    assert "export DASK_INTERNAL_INHERIT_CONFIG=" in script
    assert slurm_threads(SLURM) == 8


def test_a_slurm_job_without_gpus_has_one_worker(slurm):
    script = slurm(SLURM.model_copy(update={"gpus": None, "directives": ()}))
    assert "-m distributed.cli.dask_worker tcp://10.0.0.1:8786" in script
    assert "gres" not in script
    assert "GPU=1" not in script
    assert "--nthreads 2" in script
    assert "--no-dashboard" in script


def test_a_job_script_is_a_shell_script(slurm, tmp_path):
    (tmp_path / "job.sh").write_text(slurm(SLURM))
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


def test_a_machine_without_slurm_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    with (
        pytest.raises(BadInput, match=r"^cluster\.kind: slurm needs the command sbatch"),
        open_executor(SLURM, model_bytes=1, tell=lambda _: None),
    ):
        pass


# Kubernetes


def test_a_resource_gets_workers_and_settings():
    settings = ClusterSettings(kind="kubernetes", spec=KUBERNETES / "cluster.yaml", workers=7)
    resource = cluster_resource(settings, INHERITED)
    assert resource["spec"]["worker"]["replicas"] == 7
    for part in ("worker", "scheduler"):
        variables = resource["spec"][part]["spec"]["containers"][0]["env"]
        assert variables == [{"name": n, "value": v} for n, v in inheritance(INHERITED).items()]


@pytest.mark.parametrize("text", ["", "kind: Pod", "kind: DaskCluster", "[1]", "a: b: c"])
def test_a_file_that_is_no_resource_is_refused(text, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"^cluster\.spec: .* is not a DaskCluster resource") as caught:
        cluster_resource(ClusterSettings(kind="kubernetes", spec=path), {})
    assert len(str(caught.value).splitlines()) == 1


@pytest.fixture(scope="module")
def unauthorised() -> Iterator[str]:
    """A server that knows nobody."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"kind": "Status", "status": "Failure", "message": "Unauthorized", "code": 401}'
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("config", "what"), [("none", "credentials"), ("silent", "ConnectError"), ("refused", "Unauthorized")]
)
def test_credentials_that_kubernetes_does_not_take_are_refused(
    config, what, unauthorised, tmp_path, monkeypatch
):
    pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
    path = tmp_path / "kubeconfig"
    if config != "none":
        server = unauthorised if config == "refused" else "http://127.0.0.1:1"
        named = {"clusters": "cluster", "users": "user", "contexts": "context"}
        inside = {"clusters": {"server": server}, "users": {"token": "t"}}
        inside["contexts"] = {"cluster": "it", "user": "it"}
        entries = {many: [{"name": "it", one: inside[many]}] for many, one in named.items()}
        path.write_text(yaml.safe_dump({"kind": "Config", "current-context": "it", **entries}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    settings = ClusterSettings(kind="kubernetes", spec=KUBERNETES / "cluster.yaml")
    with (
        pytest.raises(
            BadInput, match=r"^cluster\.kind: Kubernetes does not take this machine's cred"
        ) as caught,
        open_executor(settings, model_bytes=1, tell=lambda _: None),
    ):
        pass
    assert what in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# SSH and GPUs


def test_what_ssh_is_asked_for_is_understood():
    from distributed import SSHCluster

    settings = ClusterSettings(kind="ssh", hosts=("a", "b"), gpus=1)
    options = ssh_options(settings)
    assert set(options) <= set(inspect.signature(SSHCluster).parameters)
    assert options["hosts"] == ["a", "a", "b"]
    assert options["scheduler_options"]["host"] == "a"
    assert options["scheduler_options"]["dashboard_address"] == "127.0.0.1:0"
    assert options["worker_class"] == "dask_cuda.CUDAWorker"


def test_what_dask_cuda_is_asked_for_is_understood():
    dask_cuda = pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
    from distributed import LocalCluster

    options = gpu_options(ClusterSettings(kind="gpus", pool="20GB", protocol="ucx"), 2)
    known = inspect.signature(dask_cuda.LocalCUDACluster).parameters
    others = set(options) - set(known)  # handed on
    assert others <= set(inspect.signature(LocalCluster).parameters) | {"resources"}
    assert options["rmm_pool_size"] == "20GB"
    assert options["protocol"] == "ucx"


def test_without_a_pool_none_is_asked_for():
    options = gpu_options(ClusterSettings(kind="gpus"), 2)
    assert not {"rmm_pool_size", "protocol"} & set(options)
    assert options["host"] == "127.0.0.1"


# Which worker does what


def test_the_model_runs_where_the_gpus_are_and_the_rest_everywhere():
    def where(_: int) -> str:
        import time

        from distributed import get_worker

        time.sleep(0.1)
        return str(get_worker().name)

    from distributed import Client, SpecCluster, Worker
    from distributed.scheduler import Scheduler

    local = {"host": "127.0.0.1", "nthreads": 2, "dashboard": False}
    workers = {
        "cpu": {"cls": Worker, "options": local},
        "gpu": {"cls": Worker, "options": local | {"resources": {"GPU": 1}}},
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with (
        dask.config.set(INHERITED),
        SpecCluster(workers=workers, scheduler=scheduler) as cluster,
        Client(cluster) as client,
    ):
        executor = DaskExecutor(client)
        assert set(executor.run(Stage("model", where, range(6), overlapping=True, on_device=True))) == {"gpu"}
        assert executor._resources(Stage("check", where, [], on_device=True)) == {"GPU": 1}
        assert set(executor.run(Stage("fit", where, range(6), overlapping=True))) == {"cpu", "gpu"}


def test_an_adaptive_cluster_grows_with_the_work():
    settings = ClusterSettings(kind="local", minimum=1, maximum=2)
    with (
        dask.config.set({"distributed.adaptive.target-duration": "1s"}),  # these tasks are short
        open_executor(settings, model_bytes=1, tell=lambda _: None) as executor,
    ):
        assert isinstance(executor, DaskExecutor)
        assert executor._window() == 2 * clusters._WINDOW
        assert len(executor._client.nthreads()) == 1

        def slowly(_: int) -> int:
            import os
            import time

            time.sleep(0.5)
            return os.getpid()

        assert len(set(executor.run(Stage("slow", slowly, range(24), overlapping=True)))) == 2


def test_the_example_is_a_resource_of_its_own_kind():
    assert yaml.safe_load((KUBERNETES / "cluster.yaml").read_text())["kind"] == "DaskCluster"
