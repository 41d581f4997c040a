"""A Kubernetes API server with Dask's operator, as far as a run talks to it, and pods that do as told.

What is sent is checked against the operator's published schemas. Scheduler and workers are real processes.
"""

import importlib.resources
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import psutil
import yaml

_KINDS = {
    "daskclusters": "DaskCluster",
    "daskautoscalers": "DaskAutoscaler",
    "daskworkergroups": "DaskWorkerGroup",
}
_PATH = re.compile(
    r"/(?:api/v1|apis/kubernetes\.dask\.org/v1)(?:/namespaces/default)?/(\w+)(?:/([\w.-]+))?(?:/(\w+))?$"
)

_DISCOVERY: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/apis": {"groups": []},
    "/api/v1": {
        "resources": [
            {
                "name": f"{kind.lower()}s",
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": kind != "Node",
            }
            for kind in ("Node", "Pod", "Service")
        ]
    },
}

Status = dict[str, Any]


def schema(kind: str) -> Any:
    """The published schema of a kind of the operator."""
    folder = (
        importlib.resources.files("dask_kubernetes")
        / "operator/deployment/helm/dask-kubernetes-operator/crds"
    )
    [crd] = yaml.safe_load_all((folder / f"{kind.lower()}.yaml").read_text("utf-8"))
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def unknown(value: Any, schema: Any, path: str) -> list[str]:
    """Name the fields that a schema does not know: a cluster would drop them in silence."""
    if isinstance(value, list):
        return [name for part in value for name in unknown(part, schema.get("items", {}), path)]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    found = [f"{path}.{name}" for name in value if name not in schema["properties"]]
    for name in value.keys() & schema["properties"].keys():
        found += unknown(value[name], schema["properties"][name], f"{path}.{name}")
    return found


# What pods may play: their status, as Kubernetes writes it.


def waiting(reason: str, message: str = "", exit_code: int | None = None) -> Status:
    """The only container waits for something, perhaps after it ended."""
    container: Status = {"name": "it", "state": {"waiting": {"reason": reason, "message": message}}}
    if exit_code is not None:
        container["lastState"] = {"terminated": {"reason": "Error", "exitCode": exit_code}}
    return {"phase": "Pending" if exit_code is None else "Running", "containerStatuses": [container]}


def evicted(message: str) -> Status:
    """The kubelet ended the pod."""
    return {"phase": "Failed", "reason": "Evicted", "message": message}


def unschedulable(message: str) -> Status:
    """No node has room."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


RUNNING: Status = {
    "phase": "Running",
    "conditions": [{"type": name, "status": "True"} for name in ("Ready", "ContainersReady")],
}


class Kubernetes:
    """What the server knows; `scheduler` and `worker` are what their pods play, None for a real process."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.objects: dict[tuple[str, str], Any] = {}
        self.sent: list[tuple[str, str]] = []
        self.scheduler: Status | None = None
        self.worker: Status | None = None
        self.log = ""
        self.operator = True
        self.refusal: tuple[int, str] | None = None
        self.url = ""
        self._port = 0
        self._processes: dict[str, psutil.Popen] = {}

    def kubeconfig(self, path: Path) -> Path:
        """Write a file that leads here."""
        inside = {
            "clusters": {"server": self.url},
            "users": {"token": "t"},
            "contexts": {"cluster": "it", "user": "it"},
        }
        entries = {many: [{"name": "it", many[:-1]: what}] for many, what in inside.items()}
        path.write_text(yaml.safe_dump({"kind": "Config", "current-context": "it", **entries}))
        return path

    def of(self, kind: str) -> list[str]:
        """The names of all objects of a kind, such as "pods"."""
        return [name for plural, name in list(self.objects) if plural == kind]

    def evict(self, component: str, message: str) -> None:
        """End all pods of a component; the operator's new ones play the same."""
        setattr(self, component, evicted(message))
        for name in self.of("pods"):
            if self.objects["pods", name]["metadata"]["labels"]["dask.org/component"] == component:
                self._end(name)
                self.objects["pods", name]["status"] = evicted(message)

    def _end(self, name: str) -> None:
        if process := self._processes.pop(name, None):
            for part in [*process.children(recursive=True), process]:
                part.kill()
            process.wait()

    def clear(self) -> None:
        """End everything."""
        for name in list(self._processes):
            self._end(name)
        self.objects.clear()

    # Dask's operator

    def act(self, cluster: Any) -> None:
        """Make what belongs to a DaskCluster."""
        name = cluster["metadata"]["name"]
        cluster["status"] = {"phase": "Running"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        spec = cluster["spec"]
        service = {**spec["scheduler"]["service"], "clusterIP": "10.0.0.1"}
        for port in service["ports"]:
            port["nodePort"] = self._port
        self.objects["services", f"{name}-scheduler"] = {
            "metadata": {"name": f"{name}-scheduler", "namespace": "default"},
            "spec": service,
        }
        self._pod(name, "scheduler", f"{name}-scheduler-0", spec["scheduler"]["spec"])
        for i in range(spec["worker"]["replicas"]):
            self._pod(name, "worker", f"{name}-default-worker-{i}", spec["worker"]["spec"])

    def _pod(self, cluster: str, component: str, name: str, spec: Any) -> None:
        labels = {"dask.org/cluster-name": cluster, "dask.org/component": component}
        played = getattr(self, component)
        self.objects["pods", name] = {
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": spec,
            "status": RUNNING if played is None else played,
        }
        if played is not None:
            return
        command = {
            "scheduler": ["scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"],
            "worker": ["worker", f"tcp://127.0.0.1:{self._port}", "--nthreads", "2", "--no-dashboard"],
        }[component]
        told = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", f"distributed.cli.dask_{command[0]}", *command[1:]]
        self._processes[name] = psutil.Popen(command, env=os.environ | told, **quiet)

    # The API

    def answer(self, verb: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer a request with a status and an object."""
        path = path.rstrip("/")
        self.sent.append((verb, path))
        if self.refusal is not None:
            return self.refusal[0], {"message": self.refusal[1]}
        found = _PATH.match(path)
        if path == "/version":
            return 200, {"gitVersion": "v1.34.0", "major": "1", "minor": "34"}
        if path in _DISCOVERY:
            return 200, _DISCOVERY[path]
        if found is None or (found[1].startswith("dask") and not self.operator):
            return 404, {"message": "the server could not find the requested resource"}
        kind, name, part = found.groups()
        if part == "log":
            return 200, self.log
        name = name or (body or {}).get("metadata", {}).get("name")
        handle: dict[str, Callable[[], tuple[int, Any]]] = {
            "GET": lambda: self._get(kind, name, query),
            "POST": lambda: self._create(kind, name, body),
            "PATCH": lambda: self._patch(kind, name, body),
            "DELETE": lambda: self._delete(kind, name),
        }
        return handle[verb]()

    def _get(self, kind: str, name: str | None, query: dict[str, str]) -> tuple[int, Any]:
        if kind == "nodes":
            node = {"metadata": {"name": "n"}, "status": {"addresses": [{"address": "127.0.0.1"}]}}
            return 200, {"items": [node]}
        if name is not None:
            one = self.objects.get((kind, name))
            return (200, one) if one else (404, {"message": f'{kind} "{name}" not found'})
        return 200, {
            "items": [
                one for key, one in list(self.objects.items()) if key[0] == kind and _chosen(one, query)
            ]
        }

    def _create(self, kind: str, name: str, body: Any) -> tuple[int, Any]:
        if (kind, name) in self.objects:
            return 409, {"message": f'{kind} "{name}" already exists', "reason": "AlreadyExists"}
        wanted = schema(_KINDS[kind])
        wrong = [
            f"{problem.json_path[2:]}: {problem.message}"
            for problem in jsonschema.Draft7Validator(wanted).iter_errors(body)
        ]
        wrong += unknown(body["spec"], wanted["properties"]["spec"], "spec")
        if wrong:
            return 422, {"message": f'{body["kind"]} "{name}" is invalid: {"; ".join(wrong)}'}
        body["metadata"].setdefault("namespace", "default")
        self.objects[kind, name] = body
        if kind == "daskclusters" and self.operator:
            self.act(body)
        return 201, body

    def _patch(self, kind: str, name: str, body: Any) -> tuple[int, Any]:
        if (kind, name) not in self.objects:
            return 404, {"message": f'{kind} "{name}" not found'}
        self.objects[kind, name]["spec"] |= body["spec"]
        return 200, self.objects[kind, name]

    def _delete(self, kind: str, name: str) -> tuple[int, Any]:
        if self.objects.pop((kind, name), None) is None:
            return 404, {"message": f'{kind} "{name}" not found'}
        if kind == "daskclusters":  # its pods and service have it as their owner
            for key in [key for key in self.objects if key[0] in ("pods", "services")]:
                self._end(key[1])
                del self.objects[key]
        return 200, {"status": "Success"}


def _chosen(one: Any, query: dict[str, str]) -> bool:
    labels = one["metadata"].get("labels", {})
    wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
    phase = query.get("fieldSelector", "").removeprefix("status.phase=")
    return wanted.items() <= labels.items() and (
        "status.phase" not in query.get("fieldSelector", "") or one["status"]["phase"] == phase
    )


@contextmanager
def kubernetes() -> Iterator[Kubernetes]:
    """Serve until the body ends."""
    known = Kubernetes()

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, answer = known.answer(self.command, parts.path, query, body)
            sent = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        known.clear()
