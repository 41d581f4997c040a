"""Pods of a Kubernetes cluster that runs Dask's operator, from a file with a DaskCluster resource."""

import copy
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import yaml

from lincorr.errors import BadInput, LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime.attendance import Attendance
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.pods import described, hopeless, last_words, pods, pods_said, ready, trouble
from pipeline.runtime.clusters.worker_settings import inheritance

_LOOK = 1.0  # seconds between two looks at the scheduler's pod
_REPEAT = 60.0  # seconds between two lines
_DELETION = 60.0  # seconds in which a deleted cluster is expected to be gone
_OPERATOR = "https://kubernetes.dask.org/en/latest/operator_installation.html"


@contextmanager
def open_kubernetes(
    settings: ClusterSettings, inherited: dict[str, Any], attendance: Attendance
) -> Iterator[Any]:
    """Create the DaskCluster resource, wait for its scheduler, and delete it in the end.

    Args:
        inherited: Dask settings for scheduler and workers.
        attendance: is told what the scheduler's pod says while it does not run, and how to ask the others.

    Raises:
        BadInput: dask-kubernetes is not installed, the file is not a DaskCluster, or Kubernetes refuses it.
        LincorrError: there was no scheduler within `cluster.wait`.
    """
    resource = cluster_resource(settings, inherited)
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError:
        raise missing("kubernetes", "dask-kubernetes", "cluster") from None
    limit = time.monotonic() + settings.wait * 60
    with _created(resource, settings, attendance.tell) as namespace:
        name = resource["metadata"]["name"]
        attendance.awaited = lambda: f"Kubernetes starts its pods; {pods_said(name, namespace, 'worker')}"
        attendance.gone = partial(pods_said, name, namespace, "scheduler")
        _wait_for_scheduler(name, namespace, settings, limit, attendance.tell)
        with _connected(
            lambda: KubeCluster.from_name(name, namespace=namespace, quiet=True), limit
        ) as cluster:
            yield cluster


@contextmanager
def _created(
    resource: dict[str, Any], settings: ClusterSettings, tell: Callable[[str], None]
) -> Iterator[str]:
    """Create the resource, yield its namespace, and delete it and its autoscaler."""
    import kr8s
    from kr8s.objects import new_class

    require_access()
    kind, version = resource["kind"], resource["apiVersion"]
    cluster = new_class(kind, version)(resource)
    name, namespace = str(cluster.name), str(cluster.namespace)
    ours = True  # also where Ctrl-C comes before the answer
    try:
        try:
            cluster.create()
        except kr8s.ServerError as problem:
            if problem.response is None or problem.response.status_code != 409:
                ours = False
                raise BadInput(
                    f"cluster.spec: Kubernetes takes no DaskCluster from {settings.spec} "
                    f"({_one_line(problem)})"
                ) from problem
            tell(f"DaskCluster {name} is there already: it is used as it is, and deleted at the end")
        yield namespace
    finally:
        if ours:
            _delete_all(cluster, settings, tell)


def _delete_all(cluster: Any, settings: ClusterSettings, tell: Callable[[str], None]) -> None:
    """Delete a DaskCluster with its autoscaler, and wait until it is gone; tell where that fails."""
    from kr8s.objects import new_class

    try:
        if settings.maximum is not None:
            metadata = {"name": cluster.name, "namespace": cluster.namespace}
            _delete(new_class("DaskAutoscaler", cluster.version)({"metadata": metadata}))
        _delete(cluster)
        limit = time.monotonic() + _DELETION
        while cluster.exists():
            if time.monotonic() > limit:
                raise TimeoutError("it is still being deleted")
            time.sleep(_LOOK / 4)
    except Exception as problem:  # of kr8s, httpx and others, without a common parent
        tell(
            f"DaskCluster {cluster.name} could not be deleted ({_one_line(problem)}): "
            f"`kubectl delete --namespace {cluster.namespace} daskcluster/{cluster.name}`"
        )


def _delete(thing: Any) -> None:
    import kr8s

    try:
        thing.delete()
    except kr8s.NotFoundError:
        return


def require_access() -> None:
    """Ask Kubernetes for what a run needs before anything is started.

    Raises:
        BadInput: no server answers, it rejects our credentials or lacks Dask's operator.
    """
    import kr8s  # the client library of dask-kubernetes
    from kr8s.objects import new_class

    try:
        # explicit, because kr8s caches the first
        api = kr8s.api(kubeconfig=os.environ.get("KUBECONFIG"))
        list(new_class("DaskCluster", "kubernetes.dask.org/v1").list(api=api))
    except Exception as problem:  # of kr8s, httpx and others, without a common parent
        answer = getattr(getattr(problem, "response", None), "status_code", None)
        if answer == 404:
            raise BadInput(
                f"cluster.kind: this Kubernetes has no Dask operator; {_OPERATOR} shows how to install it"
            ) from problem
        if answer == 403:
            raise BadInput(
                f"cluster.kind: Kubernetes lets this account do nothing here ({_one_line(problem)}); "
                "deploy/kubernetes/rights.yaml has the rights of a run"
            ) from problem
        raise BadInput(
            f"cluster.kind: Kubernetes does not take this machine's credentials ({_one_line(problem)}); "
            "`kubectl get daskclusters` must work here: see KUBECONFIG, ~/.kube/config, or the pod's account"
        ) from problem


def _wait_for_scheduler(
    name: str, namespace: str, settings: ClusterSettings, limit: float, tell: Callable[[str], None]
) -> None:
    """Return when the scheduler's pod is ready; tell its first trouble, and each minute what it says.

    Raises:
        BadInput: its pod can never start.
        LincorrError: it is not ready by `limit`, a time of the monotonic clock.
    """
    start = time.monotonic()
    next_line, troubled = start + _REPEAT, False
    while True:
        try:
            found = pods(name, namespace, "scheduler")
            said = described(found, "scheduler") if found else f"{_nothing(name)}"
        except Exception as problem:  # of kr8s, httpx and others, without a common parent
            found, said = [], f"Kubernetes does not answer: {_one_line(problem)}"
        if any(ready(pod) for pod in found):
            return
        if any(map(hopeless, found)):
            raise BadInput(f"cluster.spec: no scheduler can start from {settings.spec}: {said}")
        now = time.monotonic()
        if now >= limit:
            words = last_words(name, namespace, "scheduler") if found else ""
            raise LincorrError(
                f"cluster.wait: no scheduler for {now - start:.0f} s ({said}"
                + (f"; its last line: {words}" if words else "")
                + "). Finished work is stored: rerun to resume"
            )
        in_trouble = any(trouble(pod) for pod in found)
        if now >= next_line or (in_trouble and not troubled):
            next_line, troubled = now + _REPEAT, troubled or in_trouble
            tell(f"Kubernetes: no scheduler for {now - start:.0f} s (cluster.wait): {said}")
        time.sleep(min(_LOOK, max(0.0, limit - now)))


def _nothing(name: str) -> str:
    return f"Dask's operator has made no pod of DaskCluster {name}; does it run?"


@contextmanager
def _connected(connect: Callable[[], Any], limit: float) -> Iterator[Any]:
    """Connect in a thread, since Dask's own waiting has no end, and yield the cluster.

    Raises:
        BadInput: it cannot be connected to.
        LincorrError: it did not answer by `limit`.
    """
    done: list[Any] = []

    def attempt() -> None:
        try:
            done.append(connect())
        except Exception as problem:  # of kr8s, httpx and dask-kubernetes, without a common parent
            done.append(problem)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    while thread.is_alive():
        if time.monotonic() >= limit + _REPEAT / 2:  # names that are resolved in vain take ten seconds
            raise LincorrError(
                "cluster.wait: the scheduler's pod is ready, but its service cannot be reached"
            )
        thread.join(0.1)
    [cluster] = done
    if isinstance(cluster, Exception):
        raise BadInput(f"cluster.kind: no connection to the scheduler ({_one_line(cluster)})") from cluster
    with cluster:
        yield cluster


def cluster_resource(settings: ClusterSettings, inherited: dict[str, Any]) -> dict[str, Any]:
    """Read the DaskCluster resource and fill in the number of workers and their settings.

    Raises:
        BadInput: the file cannot be read, or is not a DaskCluster with a scheduler and workers.
    """
    try:
        resource: Any = yaml.safe_load(settings.spec.read_text("utf-8")) if settings.spec else None
        if resource["kind"] != "DaskCluster":
            raise ValueError(f"its kind is {resource['kind']}")
        resource = copy.deepcopy(resource)
        resource |= {"apiVersion": str(resource["apiVersion"]), "metadata": {**resource["metadata"]}}
        resource["metadata"]["name"] = str(resource["metadata"]["name"])
        worker = resource["spec"]["worker"]
        worker["replicas"] = settings.minimum or settings.workers or worker.get("replicas", 1)
        for part in (worker, resource["spec"]["scheduler"]):
            variables = part["spec"]["containers"][0].setdefault("env", [])
            variables += [{"name": name, "value": value} for name, value in inheritance(inherited).items()]
        granted = _gpus(worker["spec"]["containers"][0])
    except (
        OSError,
        UnicodeDecodeError,
        yaml.YAMLError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
    ) as problem:
        raise BadInput(
            f"cluster.spec: {settings.spec} is not a DaskCluster resource ({_one_line(problem)}); "
            "see deploy/kubernetes/cluster.yaml"
        ) from None
    if granted < settings.gpus_per_worker > 1:
        raise BadInput(
            f"cluster.spec: in {settings.spec} a worker is limited to {granted} GPUs, and "
            f"cluster.gpus_per_worker is {settings.gpus_per_worker}; limit it to as many (nvidia.com/gpu)"
        )
    return dict(resource)


def _gpus(container: Any) -> int:
    """The GPUs that a container is given, of whatever maker."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return sum(int(number) for name, number in limits.items() if name.endswith("/gpu"))


def _one_line(problem: Exception) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())
