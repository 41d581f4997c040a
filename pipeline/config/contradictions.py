"""Settings that are valid one by one and not together."""

import os
from typing import Any

from lincorr.errors import BadInput
from lincorr.redact import NO_CREDENTIALS, has_credentials
from pipeline.config.sections import ClusterSettings, ModelSettings, RunConfig, SubjectSettings

# Settings of the cluster -> the kinds that use them.
_KINDS_WITH = {
    "address": ("address",),
    "host": ("local", "gpus", "ssh", "slurm"),
    "tls": ("local", "address", "gpus", "ssh", "slurm"),
    "hosts": ("ssh",),
    "gpus": ("ssh", "slurm"),
    "pool": ("gpus",),
    "protocol": ("gpus",),
    "minimum": ("local", "slurm", "kubernetes"),
    "maximum": ("local", "slurm", "kubernetes"),
    "queue": ("slurm",),
    "walltime": ("slurm",),
    "memory": ("slurm",),
    "cpus": ("slurm",),
    "directives": ("slurm",),
    "spec": ("kubernetes",),
}
# Kind -> the settings that it requires, described.
_NEEDS = {
    "address": {"address": "the scheduler's address"},
    "ssh": {"hosts": "the machines to use"},
    "slurm": {
        "host": "an address of this machine that SLURM's nodes reach",
        "cpus": "the cores of a job",
        "memory": "the memory of a job",
    },
    "kubernetes": {"spec": "a file with the DaskCluster resource"},
}
_MOST_LOCAL_WORKERS = 256  # all on this machine


def refuse_contradictions(config: RunConfig) -> None:
    """Refuse settings that contradict each other, with BadInput."""
    _refuse_of_the_model(config.model)
    _refuse_of_the_subjects(config.subjects)
    _refuse_of_the_cluster(config.cluster)
    if config.cluster.gpus_per_worker > 1:
        _refuse_of_several_gpus(config.cluster, config.model)
    if not config.relations:
        raise BadInput("relations: the list is empty; name at least one relation")
    _refuse_credentials(config.model_dump(mode="json"))


def _refuse_of_the_model(model: ModelSettings) -> None:
    local = model.source.startswith("package:") or os.path.exists(model.source)
    if model.revision is not None and local:
        raise BadInput(
            f"model.revision: {model.source!r} is no hub id, and only those have revisions; leave it out"
        )


def _refuse_of_the_subjects(subjects: SubjectSettings) -> None:
    drawn = subjects.kind == "vocabulary"
    if not drawn and subjects.file is None:
        raise BadInput(f"subjects.file: subjects.kind {subjects.kind} needs a file")
    if drawn and subjects.file is not None:
        raise BadInput("subjects.file: subjects.kind vocabulary reads no file; use kind tokens or strings")
    if subjects.compat == "notebook" and (not drawn or subjects.count == "all"):
        raise BadInput(
            "subjects.compat: notebook draws from the vocabulary; it needs subjects.kind vocabulary and "
            "a subjects.count"
        )
    ignored = ("classes",) if subjects.compat == "notebook" else () if drawn else ("count", "classes")
    for name in ignored:
        if getattr(subjects, name) != SubjectSettings.model_fields[name].default:
            why = "subjects.compat notebook" if drawn else f"subjects.kind {subjects.kind}"
            raise BadInput(f"subjects.{name}: {why} does not use it; leave it out")


def _refuse_of_the_cluster(cluster: ClusterSettings) -> None:
    for name, kinds in _KINDS_WITH.items():
        given = getattr(cluster, name) != ClusterSettings.model_fields[name].default
        if given and cluster.kind not in kinds:
            raise BadInput(
                f"cluster.{name}: cluster.kind {cluster.kind} does not use it; leave it out, or use kind "
                f"{' or '.join(kinds)}"
            )
    for name, what in _NEEDS.get(cluster.kind, {}).items():
        if not getattr(cluster, name):
            raise BadInput(f"cluster.{name}: cluster.kind {cluster.kind} needs {what}")
    most = max(cluster.workers or 0, cluster.maximum or 0)
    if cluster.kind == "local" and most > _MOST_LOCAL_WORKERS:
        raise BadInput(
            f"cluster.{'workers' if cluster.workers else 'maximum'}: {most:,} workers are too many for this "
            f"machine; give {_MOST_LOCAL_WORKERS} at most, or another cluster.kind"
        )
    if cluster.kind == "ssh" and cluster.workers is not None:
        raise BadInput(
            "cluster.workers: cluster.kind ssh starts one worker per host; name a host twice for two"
        )
    if cluster.tls is not None and len(cluster.tls) not in (1, 3):
        raise BadInput("cluster.tls: give a folder, or three paths: authority, certificate, key")
    if cluster.tls is not None and cluster.protocol == "ucx":
        raise BadInput("cluster.protocol: ucx is not encrypted; use tcp, or leave cluster.tls out")
    address = cluster.address or ""
    if cluster.tls is None and address.startswith("tls://"):
        raise BadInput(f"cluster.tls: {address} requires a certificate; give a folder or three paths")
    if cluster.tls is not None and "://" in address and not address.startswith("tls://"):
        raise BadInput(f"cluster.address: {address} is not encrypted; write tls://, or leave cluster.tls out")
    if cluster.minimum is not None and cluster.maximum is None:
        raise BadInput("cluster.minimum: an adaptive cluster also needs cluster.maximum")
    if cluster.maximum is not None:
        if cluster.workers is not None:
            raise BadInput("cluster.workers: give a fixed number, or cluster.minimum and cluster.maximum")
        if cluster.maximum < (cluster.minimum or 1):
            raise BadInput(
                f"cluster.maximum: {cluster.maximum} is less than cluster.minimum {cluster.minimum}"
            )


def _refuse_of_several_gpus(cluster: ClusterSettings, model: ModelSettings) -> None:
    several = f"cluster.gpus_per_worker is {cluster.gpus_per_worker}"
    if model.device not in ("auto", "cuda"):
        raise BadInput(f"model.device: {model.device} is one device and {several}; use cuda or auto")
    if cluster.gpus not in (None, cluster.gpus_per_worker):
        raise BadInput(
            f"cluster.gpus: {cluster.gpus} where {several}: a job or host then has one worker; leave it out"
        )
    if len(set(cluster.hosts)) < len(cluster.hosts):
        raise BadInput(f"cluster.hosts: a host is named twice and {several}; both would take the same GPUs")
    if cluster.pool is not None:
        raise BadInput(f"cluster.pool: a pool is of one GPU and {several}; leave it out")
    if cluster.protocol != "tcp":
        raise BadInput(
            f"cluster.protocol: {cluster.protocol} is for workers of one GPU and {several}; use tcp"
        )


def _refuse_credentials(settings: Any, name: str = "") -> None:
    """Refuse a URL with a password or a key in any setting: it would be shown and stored."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            _refuse_credentials(value, f"{name}.{key}" if name else key)
    elif isinstance(settings, list):
        for value in settings:
            _refuse_credentials(value, name)
    elif isinstance(settings, str) and has_credentials(settings):
        raise BadInput(f"{name}: {NO_CREDENTIALS}")
