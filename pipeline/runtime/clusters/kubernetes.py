"""Pods of a Kubernetes cluster that runs Dask's operator, from a file with a DaskCluster resource."""

import copy
import os
from typing import Any

import yaml

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.worker_settings import inheritance


def open_kubernetes(settings: ClusterSettings, inherited: dict[str, Any]) -> Any:
    """Create the DaskCluster resource and wait for its scheduler; closing the cluster deletes it.

    Args:
        inherited: Dask settings for scheduler and workers.

    Raises:
        BadInput: dask-kubernetes is not installed, the file is not a DaskCluster, or Kubernetes refuses it.
    """
    resource = cluster_resource(settings, inherited)
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError:
        raise missing("kubernetes", "dask-kubernetes", "cluster") from None
    require_credentials()
    try:
        return KubeCluster(custom_cluster_spec=resource, quiet=True)
    except Exception as problem:  # of kr8s, httpx and dask-kubernetes, without a common parent
        raise BadInput(
            f"cluster.kind: Kubernetes starts no cluster from {settings.spec} ({_one_line(problem)}); "
            "`kubectl get daskclusters` must work here"
        ) from problem


def require_credentials() -> None:
    """Ask Kubernetes who we are before anything is started, since the operator's own client would wait long.

    Raises:
        BadInput: no server answers, or it rejects our credentials.
    """
    import kr8s  # the client library of dask-kubernetes

    try:
        kr8s.api(kubeconfig=os.environ.get("KUBECONFIG")).whoami()  # explicit, because kr8s caches the first
    except Exception as problem:  # of kr8s, httpx and others, without a common parent
        raise BadInput(
            f"cluster.kind: Kubernetes does not take this machine's credentials ({_one_line(problem)}); "
            "`kubectl auth whoami` must work here: see KUBECONFIG, ~/.kube/config, or the pod's account"
        ) from problem


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
