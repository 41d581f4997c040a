"""Runs on a Kubernetes API of the test's own: pods that start, that do not, and that are evicted."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lincorr.errors import BadInput, LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime import attendance
from pipeline.runtime.clusters.pods import described
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Stage
from tests.apiserver import Kubernetes, evicted, kubernetes, unschedulable, waiting
from tests.pipeline.cli.toy import write_catalogue
from tests.pipeline.conftest import PATIENCE
from tests.processes import starting
from tests.slurm import wait_until
from tests.stores import array

DEPLOYED = Path(__file__).parents[3] / "deploy/kubernetes/cluster.yaml"
PULL = waiting("ImagePullBackOff", 'Back-off pulling image "registry.example.org/lincorr:cuda"')
CRASH = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container", exit_code=1)

kr8s = pytest.importorskip("kr8s", reason="dask-kubernetes is not installed")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    with kubernetes() as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.setattr(kr8s.Api.__mro__[1], "_instances", {})  # it keeps connections to earlier servers
        yield one


def spec(folder: Path, **changes: Any) -> Path:
    """The shipped cluster.yaml, reached through a port of a node: this machine is in no cluster."""
    resource = yaml.safe_load(DEPLOYED.read_text("utf-8"))
    resource["spec"]["scheduler"]["service"]["type"] = "NodePort"
    resource["spec"] |= changes
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(resource))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> ClusterSettings:
    return ClusterSettings(kind="kubernetes", spec=spec(tmp_path), workers=1, wait=0.03)


def problem_of(settings: ClusterSettings, kind: type[LincorrError]) -> tuple[str, list[str]]:
    """The line with which a run ends, and those before it."""
    told: list[str] = []
    with pytest.raises(kind) as caught, open_executor(settings, model_bytes=1, tell=told.append):
        pass
    assert "\n" not in str(caught.value)
    assert type(caught.value) is kind
    return str(caught.value), told


# The scheduler's pod


@pytest.mark.parametrize(
    ("plays", "said"),
    [
        (PULL, 'pod lincorr-scheduler-0: ImagePullBackOff (Back-off pulling image "registry.example.org'),
        (unschedulable("0/3 nodes are available"), "Unschedulable (0/3 nodes are available)"),
        (evicted("The node was low on resource: memory."), "Evicted (The node was low on resource: memory.)"),
        (waiting("ContainerCreating"), "pod lincorr-scheduler-0: Pending"),
    ],
    ids=["image", "no node", "evicted", "slow"],
)
def test_a_scheduler_that_does_not_start_is_given_up_with_what_its_pod_said(plays, said, api, settings):
    api.scheduler = plays
    enough = settings.model_copy(update={"wait": 0.08})  # also where all cores are busy
    line, told = problem_of(enough, LincorrError)
    assert re.match(r"cluster\.wait: no scheduler for \d s \(", line)
    assert said in line
    assert any("no scheduler" in line and said in line for line in told) == (
        "ContainerCreating" not in str(plays)
    )
    assert api.objects == {}


def test_a_scheduler_that_crashes_is_given_up_with_its_last_line(api, settings):
    api.scheduler, api.log = CRASH, "Traceback\nModuleNotFoundError: No module named 'dask'\n"
    line, _ = problem_of(settings, LincorrError)
    assert (
        "CrashLoopBackOff (Error, exit code 1); its last line: ModuleNotFoundError: No module named 'd"
        in line
    )
    assert api.objects == {}


def test_a_scheduler_that_can_never_start_is_not_waited_for(api, settings):
    api.scheduler = waiting("InvalidImageName", 'couldn\'t parse image name "Registry:/x"')
    line, _ = problem_of(settings.model_copy(update={"wait": 10.0}), BadInput)
    assert line.startswith("cluster.spec: no scheduler can start")
    assert "InvalidImageName (couldn't parse image name" in line
    assert api.objects == {}


def test_an_operator_that_does_not_act_is_named(api, settings, monkeypatch):
    monkeypatch.setattr(api, "act", lambda cluster: None)
    line, _ = problem_of(settings, LincorrError)
    assert "Dask's operator has made no pod of DaskCluster lincorr; does it run?" in line
    assert api.objects == {}


# What Kubernetes refuses


def test_a_kubernetes_without_the_operator_is_refused(api, settings):
    api.operator = False
    line, _ = problem_of(settings, BadInput)
    assert line.startswith("cluster.kind: this Kubernetes has no Dask operator; https://")


def test_an_account_without_rights_is_refused(api, settings):
    api.refusal = (403, 'daskclusters.kubernetes.dask.org is forbidden: User "it" cannot list')
    line, _ = problem_of(settings, BadInput)
    assert 'User "it" cannot list' in line
    assert "rights.yaml" in line


def test_a_resource_that_does_not_meet_the_schema_is_refused(api, settings, tmp_path):
    spec(tmp_path, idleTimeout="soon", gpus=1)
    line, _ = problem_of(settings, BadInput)
    assert line.startswith("cluster.spec: Kubernetes takes no DaskCluster from ")
    assert "spec.idleTimeout" in line
    assert "spec.gpus" in line
    assert ("DELETE", "/apis/kubernetes.dask.org/v1/namespaces/default/daskclusters/lincorr") not in api.sent


def test_rights_that_the_job_has_are_enough(api, settings):
    """A pod's account may ask for its own resources only, as rights.yaml has it."""
    api.scheduler = PULL
    problem_of(settings, LincorrError)
    rights = next(
        d for d in yaml.safe_load_all((DEPLOYED.parent / "rights.yaml").read_text()) if d["kind"] == "Role"
    )
    allowed = {name for rule in rights["rules"] for name in rule["resources"]}
    asked = {
        path.split("/namespaces/default/")[1].split("/")[0] for _, path in api.sent if path != "/version"
    }
    assert asked <= allowed


# Workers


@pytest.mark.slow
def test_workers_that_do_not_start_are_given_up_with_what_their_pods_said(api, settings):
    api.worker = PULL
    line, told = problem_of(settings.model_copy(update={"workers": 2, "wait": 0.2}), LincorrError)
    assert line.startswith("cluster.wait: no worker has come for ")
    assert "pod lincorr-default-worker-0 and 1 more: ImagePullBackOff" in line
    assert any("Waiting for the first worker" in line and "ImagePullBackOff" in line for line in told)
    assert api.objects == {}


@pytest.mark.slow
def test_workers_that_are_all_evicted_are_told_and_given_up(api, settings, monkeypatch):
    monkeypatch.setattr(attendance, "_GRACE", 0.0)
    told: list[str] = []

    def work(_: int) -> None:
        time.sleep(0.5)

    def evict() -> None:
        time.sleep(3)
        api.evict("worker", "The node was low on resource: memory.")

    def run() -> None:
        patient = settings.model_copy(update={"wait": 0.2})
        with open_executor(patient, model_bytes=1, tell=told.append) as executor:
            thread = threading.Thread(target=evict)
            thread.start()
            executor.run(Stage("work", work, range(10_000), overlapping=True))

    with pytest.raises(LincorrError, match=r"the only worker is gone .*Evicted \(The node was low on res"):
        run()
    assert any("The only worker is gone" in line and "Evicted" in line for line in told)
    assert api.objects == {}


def test_troubles_are_grouped():
    found = [{"metadata": {"name": f"w{i}"}, "status": PULL if i else CRASH} for i in range(3)]
    assert described(found, "worker").startswith(
        "pod w0: CrashLoopBackOff (Error, exit code 1); pod w1 and 1 more: Im"
    )
    assert described([], "worker") == "there is no worker pod"


# Whole runs


@pytest.fixture
def run(api: Kubernetes, toy_model: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    options = ["--relations=toy", "--subjects-count=60", "--store-shard-rows=1", "--cluster-batch-tokens=128"]
    options += [f"--model={toy_model}", f"--catalogue={catalogue}"]
    with starting() as launch:
        yield lambda verb, store, *flags: launch(verb, *options, f"--store={store}", *flags)


@pytest.fixture
def begin(run: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start an extraction on one pod, and wait until it has written something."""

    def begin() -> subprocess.Popen[str]:
        store = tmp_path / "run.zarr"
        flags = ["--cluster-kind=kubernetes", f"--cluster-spec={spec(tmp_path)}", "--cluster-workers=1"]
        process = run("extract", store, *flags)
        wait_until(
            lambda: list(store.glob("done/*/c/*/0")) or process.poll() is not None, "no record", PATIENCE
        )
        return process

    return begin


@pytest.mark.slow
def test_ctrl_c_while_the_scheduler_is_awaited_leaves_nothing(api, run, tmp_path):
    api.scheduler = PULL
    process = run(
        "extract", tmp_path / "run.zarr", "--cluster-kind=kubernetes", f"--cluster-spec={spec(tmp_path)}"
    )
    wait_until(lambda: api.of("pods") or process.poll() is not None, "no pod", PATIENCE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert api.objects == {}


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["--cluster-workers=2", "--cluster-minimum=1"])
def test_a_run_on_pods_has_the_bits_of_a_run_here_and_leaves_nothing(shape, api, run, tmp_path):
    flags = ["--cluster-kind=kubernetes", f"--cluster-spec={spec(tmp_path)}", shape]
    flags += ["--cluster-threads=1"] + ["--cluster-maximum=3"] * ("minimum" in shape)
    there, here = tmp_path / "there.zarr", tmp_path / "here.zarr"
    process = run("extract", there, *flags)
    _, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    assert api.objects == {}
    _, err = run("extract", here, "--cluster-kind=serial").communicate(timeout=2 * PATIENCE)
    for name in ("logits/city", "logits/country", "hidden/city"):
        assert array(here, name).tobytes() == array(there, name).tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_on_pods_that_is_stopped_leaves_nothing(number, code, api, begin):
    process = begin()
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert api.objects == {}


@pytest.mark.slow
def test_a_cluster_that_a_killed_run_left_is_used_and_deleted(api, begin):
    process = begin()
    process.kill()
    process.communicate()
    assert api.of("daskclusters") == ["lincorr"]
    process = begin()
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    assert "DaskCluster lincorr is there already" in out + err
    assert api.objects == {}


@pytest.mark.slow
def test_a_scheduler_that_is_evicted_ends_the_run_with_one_line(api, begin):
    process = begin()
    api.evict("scheduler", "The node was low on resource: memory.")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "Evicted (The node was low on resource: memory.)" in err.splitlines()[-1]
    assert api.objects == {}
