"""What the pods of a Dask cluster say of themselves, and why they do not run."""

from collections.abc import Mapping
from typing import Any

# The operator's labels.
_LABELS = "dask.org/cluster-name={},dask.org/component={}"
_ON_THE_WAY = {"ContainerCreating", "PodInitializing"}
_NEVER = {"InvalidImageName", "ErrImageNeverPull"}  # no waiting helps


def pods(cluster: str, namespace: str | None, component: str) -> list[dict[str, Any]]:
    """Return the pods of a cluster's scheduler or workers as Kubernetes describes them.

    Raises:
        Exception: of kr8s and httpx, where Kubernetes does not answer.
    """
    from kr8s.objects import Pod

    selector = _LABELS.format(cluster, component)
    return [dict(pod.raw) for pod in Pod.list(namespace=namespace, label_selector=selector)]


def ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod takes connections."""
    status = pod.get("status", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return status.get("phase") == "Running" and conditions.get("Ready") == "True"


def trouble(pod: Mapping[str, Any]) -> str | None:
    """Return why a pod does not run, such as "Evicted (The node was low …)"; None if it may yet."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting")
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get(
            "terminated"
        )
        if waiting and waiting.get("reason") not in _ON_THE_WAY:
            return _said(waiting.get("reason"), _end(ended) or waiting.get("message"))
        if ended and status.get("phase") == "Failed":
            return _said(status.get("reason") or "Failed", status.get("message") or _end(ended))
    if status.get("phase") == "Failed":
        return _said(status.get("reason") or "Failed", status.get("message"))
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _said(condition.get("reason"), condition.get("message"))
    return None


def hopeless(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod cannot start however long one waits."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return any(one.get("state", {}).get("waiting", {}).get("reason") in _NEVER for one in statuses)


def described(found: list[dict[str, Any]], component: str) -> str:
    """Return one line on pods that do not all run: each kind of trouble once, with one pod's name."""
    if not found:
        return f"there is no {component} pod"
    kinds: dict[str, list[str]] = {}
    for pod in found:
        phase = pod.get("status", {}).get("phase", "Pending")
        kinds.setdefault(trouble(pod) or phase, []).append(pod["metadata"]["name"])
    return "; ".join(
        f"pod {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "") + f": {what}"
        for what, names in kinds.items()
    )


def last_words(cluster: str, namespace: str | None, component: str) -> str:
    """Return the last line that a crashed container wrote, or nothing."""
    from kr8s.objects import Pod

    selector = _LABELS.format(cluster, component)
    for pod in Pod.list(namespace=namespace, label_selector=selector):
        for previous in (True, False):
            try:
                lines = [line for line in pod.logs(tail_lines=5, previous=previous) if line.strip()]
            except Exception:  # there is no such log, or we may not read it: of kr8s, without a parent
                continue
            if lines:
                return str(lines[-1]).strip()
    return ""


def pods_said(cluster: str, namespace: str | None, component: str) -> str:
    """Say why the pods of a component do not run, such as "pod lincorr-1: ImagePullBackOff (…)"."""
    try:
        found = pods(cluster, namespace, component)
        said = described([pod for pod in found if not ready(pod)] or found, component)
        words = last_words(cluster, namespace, component) if "CrashLoopBackOff" in said else ""
    except Exception:  # of kr8s and httpx, where Kubernetes does not answer
        return "`kubectl get pods` shows its pods"
    return f"{said}; its last line: {words}" if words else said


def _said(reason: str | None, message: str | None) -> str:
    words = " ".join((message or "").split())
    return f"{reason} ({words})" if words else str(reason)


def _end(ended: Mapping[str, Any] | None) -> str | None:
    if not ended:
        return None
    reason = ended.get("reason", "Error")
    return (
        f"{reason}, exit code {ended.get('exitCode')}" if ended.get("exitCode") is not None else str(reason)
    )
