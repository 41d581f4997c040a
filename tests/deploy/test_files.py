"""The files of deploy/ are what their readers expect: the project's own, and the real parsers and schemas."""

import re
import subprocess
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml
from distributed.versions import required_packages
from packaging.requirements import Requirement

from pipeline.config import load_config
from pipeline.runtime.clusters.worker_settings import dask_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: str(path.relative_to(DEPLOY))
)
def test_every_file_is_yaml(path):
    assert all(isinstance(document, dict) for document in documents(path))


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("config.yaml")), ids=lambda path: path.parent.name)
def test_every_configuration_is_understood(path):
    kinds = {"deploy": "address", "slurm": "slurm", "kubernetes": "kubernetes"}
    assert load_config(path, {}).cluster.kind == kinds[path.parent.name]


def test_every_script_is_bash():
    scripts = [*DEPLOY.rglob("*.sbatch"), *DEPLOY.rglob("*.sh")]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)


def test_flags_of_the_batch_script_are_settings():
    flags = re.findall(r"--(cluster-[a-z]+)", (DEPLOY / "slurm" / "run.sbatch").read_text())
    assert flags == ["cluster-host"]


def test_dask_yaml_says_what_workers_get_elsewhere():
    nested: dict[str, Any] = {}
    dask.config.set(dask_settings(None, keep_memory=True), config=nested)
    [written] = documents(DEPLOY / "dask.yaml")
    assert written == nested


@pytest.mark.parametrize("document", sorted(DEPLOY.rglob("README.md")), ids=lambda path: path.parent.name)
def test_links_and_named_files_exist(document):
    text = document.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
    for name in re.findall(r"(?:apply -f |-f (?=\S+\.yaml)|--file |--from-file=)(\S+)", text):
        assert (document.parent / name).exists() or (ROOT / name).exists(), name


# Containers


def dockerfile(name: str) -> list[Any]:
    parse = pytest.importorskip("dockerfile_parse", reason="dockerfile-parse is not installed")
    with (DEPLOY / "docker" / name).open("rb+") as file:
        return list(parse.DockerfileParser(fileobj=file).structure)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_a_dockerfile_copies_what_there_is_and_runs_as_nobody_special(name):
    steps = dockerfile(name)
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "HEALTHCHECK", "CMD", "COMMENT"}
    assert {step["instruction"] for step in steps} <= known
    assert [step["value"] for step in steps if step["instruction"] == "USER"] == ["1000:1000"]
    [base] = [step["value"] for step in steps if step["instruction"] == "FROM"]
    assert re.search(r":\d+\.\d+\.\d+-", base), "a base is named by its exact version"
    copied = {
        source for step in steps if step["instruction"] == "COPY" for source in step["value"].split()[:-1]
    }
    assert copied >= {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "lincorr",
        "pipeline",
    }  # what the package is built of
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_compose_has_a_scheduler_workers_and_a_client():
    [compose] = documents(DEPLOY / "compose.yaml")
    services = compose["services"]
    assert set(services) == {"scheduler", "worker", "client"}
    assert services["scheduler"]["ports"] == ["127.0.0.1:8787:8787"]  # nothing beyond this machine
    assert {n for service in services.values() for n in service["networks"]} == set(compose["networks"])
    address = load_config(DEPLOY / "config.yaml", {}).cluster.address
    assert address in services["worker"]["command"]


# Kubernetes


def test_the_cluster_meets_the_schema_of_the_operator():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    [cluster] = documents(KUBERNETES / "cluster.yaml")
    pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
    from tests.apiserver import schema as published
    from tests.apiserver import unknown

    schema = published("DaskCluster")
    jsonschema.validate(cluster, schema)
    assert unknown(cluster["spec"], schema["properties"]["spec"], "spec") == []
    cluster["spec"]["worker"]["replicas"] = "four"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster, schema)


def problems(value: Any, kind: str, path: str) -> list[str]:
    """Name what is no field of a kind of Kubernetes' own API, or of another type, by its client."""
    import kubernetes.client as models

    if listed := re.fullmatch(r"list\[(.*)\]", kind):
        return [name for part in value for name in problems(part, listed[1], path)]
    model = getattr(models, kind, None)
    if model is None:
        types = {"str": str, "int": int, "bool": bool}
        return [] if isinstance(value, types.get(kind, object)) else [f"{path} is no {kind}"]
    fields = {sent: model.openapi_types[name] for name, sent in model.attribute_map.items()}
    found = [f"{path}.{name}" for name in value if name not in fields]
    for name in value.keys() & fields.keys():
        found += problems(value[name], fields[name], f"{path}.{name}")
    return found


def test_resources_meet_the_schemas_of_kubernetes():
    pytest.importorskip("kubernetes", reason="the client of Kubernetes is not installed")
    others = [
        d
        for path in KUBERNETES.glob("*.yaml")
        for d in documents(path)
        if d.get("kind") not in (None, "DaskCluster")
    ]
    assert {d["kind"] for d in others} >= {"Job", "Role", "Secret", "PersistentVolumeClaim"}
    for document in others:
        assert problems(document, f"V1{document['kind']}", document["kind"]) == []
    [job] = documents(KUBERNETES / "job.yaml")
    job["spec"]["template"]["spec"] |= {"restartpolicy": "Never"}
    job["spec"]["backoffLimit"] = "three"
    assert sorted(problems(job, "V1Job", "Job")) == [
        "Job.spec.backoffLimit is no int",
        "Job.spec.template.spec.restartpolicy",
    ]


def pods() -> dict[str, Any]:
    """The specification of every pod of deploy/kubernetes."""
    [job], [cluster] = documents(KUBERNETES / "job.yaml"), documents(KUBERNETES / "cluster.yaml")
    parts = {name: cluster["spec"][name]["spec"] for name in ("worker", "scheduler")}
    return parts | {"job": job["spec"]["template"]["spec"]}


def unrestricted(pod: Any) -> list[str]:
    """Name what the profile "restricted" of Kubernetes' pod security standards refuses in a pod."""
    context = pod.get("securityContext", {})
    refused = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    if not context.get("runAsNonRoot") or context.get("runAsUser") == 0:
        refused.append("root")
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        refused.append("seccompProfile")
    if any(volume.keys() - {"name"} <= {"hostPath"} for volume in pod.get("volumes", [])):
        refused.append("hostPath")
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            refused.append("allowPrivilegeEscalation")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            refused.append("capabilities")
    return refused


def test_no_pod_may_more_than_it_needs():
    for pod in pods().values():
        assert unrestricted(pod) == []
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000
        del pod["securityContext"], pod["containers"][0]["securityContext"]
        assert unrestricted(pod) == ["root", "seccompProfile", "allowPrivilegeEscalation", "capabilities"]


def test_only_workers_ask_for_gpus():
    [cluster] = documents(KUBERNETES / "cluster.yaml")
    worker, scheduler = (cluster["spec"][part]["spec"]["containers"][0] for part in ("worker", "scheduler"))
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "GPU=1" in worker["args"]
    assert "nvidia.com/gpu" not in str(scheduler)
    assert worker["image"] == scheduler["image"]


def test_resources_name_each_other():
    parts = {d["kind"]: d for path in KUBERNETES.glob("*.yaml") for d in documents(path) if "kind" in d}
    job = parts["Job"]["spec"]["template"]["spec"]
    assert job["serviceAccountName"] == parts["ServiceAccount"]["metadata"]["name"]
    assert parts["RoleBinding"]["roleRef"]["name"] == parts["Role"]["metadata"]["name"]
    claim, secret = (parts[kind]["metadata"]["name"] for kind in ("PersistentVolumeClaim", "Secret"))
    worker = parts["DaskCluster"]["spec"]["worker"]["spec"]
    for pod in (job, worker):
        volumes = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}
        assert volumes["data"] == claim
        [container] = pod["containers"]
        assert container["envFrom"][0]["secretRef"]["name"] == secret
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    assert set(parts["Secret"]["stringData"].values()) == {""}  # secrets are filled in elsewhere


def locked(path: Path) -> dict[str, str]:
    """Each package's version in the images' Python, by a lock file."""
    environment = {"python_version": "3.11", "python_full_version": "3.11.14", "sys_platform": "linux"}
    requirements = [
        Requirement(line.removesuffix("\\")) for line in path.read_text("utf-8").splitlines() if "==" in line
    ]
    return {
        requirement.name: str(requirement.specifier)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def test_the_images_can_be_in_one_cluster_and_have_what_the_tests_have():
    tested, cpu, cuda = map(locked, (ROOT / "requirements.lock", *sorted(DEPLOY.glob("docker/c*.lock"))))
    assert f"torch{cuda['torch']}" in (DEPLOY / "docker/Dockerfile").read_text("utf-8")
    for package in {*required_packages, "numpy", "zarr", "transformers", "tokenizers", "safetensors"}:
        assert tested[package] == cpu[package] == cuda[package], package
