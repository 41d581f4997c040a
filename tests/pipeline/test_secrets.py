"""Secrets are in no store, report, job script or line: a marker in each of them is searched for."""

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import boto3
import dask
import pytest
import yaml

from lincorr.errors import LincorrError
from pipeline.cli.main import main
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.kubernetes import cluster_resource
from pipeline.runtime.clusters.slurm import slurm_options
from pipeline.runtime.clusters.tls import tls_settings
from pipeline.runtime.clusters.worker_settings import dask_settings, inheritance
from tests.pipeline.cli.toy import write_catalogue

SECRET = "hushhush"
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
)


@pytest.fixture
def _secrets(s3: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that has one, with the marker in it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{SECRET}{name.replace('_', '')}")


@pytest.fixture
def arguments(tmp_path: Path, toy_model: Path, blank_plots: None) -> list[str]:
    """A small run whose store has yet to be named, and whose report goes into a folder."""
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    options = ["--model", str(toy_model), "--catalogue", str(catalogue), "--relations", "toy"]
    options += ["--subjects-count", "24", "--cluster-kind", "serial"]
    return ["run", *options, "--report-folder", str(tmp_path / "page"), "--store"]


@pytest.mark.usefixtures("_secrets")
def test_a_run_keeps_secrets_to_itself(arguments, endpoint, tmp_path, capfd):
    assert main([*arguments, "s3://runs/secrets.zarr"]) == 0
    client = boto3.client("s3", endpoint_url=endpoint)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="runs", Prefix="secrets.zarr")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert "secrets.zarr/zarr.json" in keys
    stored = [client.get_object(Bucket="runs", Key=key)["Body"].read() for key in keys]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    said = capfd.readouterr()
    everything = b"".join([*(key.encode() for key in keys), *stored, *written])
    assert SECRET.encode() not in everything
    assert SECRET not in said.out + said.err


@pytest.mark.usefixtures("_secrets")
def test_a_failure_keeps_secrets_to_itself(arguments, monkeypatch, capfd):
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # restored in the end
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    command = [*arguments, "s3://runs/none.zarr"]
    assert main(command) != 0
    with pytest.raises(LincorrError, match="cannot be reached") as caught:
        main([*command, "--debug"])
    sys.excepthook(caught.type, caught.value, caught.tb)
    said = capfd.readouterr()
    assert "Traceback" in said.err
    assert SECRET not in said.out + said.err


@pytest.fixture
def inherited(_secrets: None, tmp_path: Path) -> dict[str, object]:
    """The settings that workers are sent, with TLS whose key file has the marker beside its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
         "-days", "2", "-subj", "/CN=toy"], cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "ca.pem").write_bytes((tmp_path / "cert.pem").read_bytes())
    key = tmp_path / "key.pem"
    key.write_text(f"{SECRET}\n{key.read_text()}")
    settings = ClusterSettings(kind="slurm", tls=(tmp_path,))
    return dask_settings(2, keep_memory=True) | tls_settings(settings)


def test_jobs_and_pods_are_sent_paths_and_no_secrets(inherited, tmp_path):
    sent = [dask.config.deserialize(text) for text in inheritance(inherited).values()]
    assert str(tmp_path / "key.pem") in str(sent)
    slurm = ClusterSettings(kind="slurm", host="h", cpus=2, memory="4GB", tls=(tmp_path,))
    example = Path(__file__).parents[2] / "deploy" / "kubernetes" / "cluster.yaml"
    pods = cluster_resource(ClusterSettings(kind="kubernetes", spec=example), inherited)
    everything = f"{sent} {slurm_options(slurm, inherited)} {yaml.safe_dump(pods)}"
    assert SECRET not in everything


def test_a_job_script_has_no_secret(inherited):
    job = pytest.importorskip("dask_jobqueue.slurm", reason="dask-jobqueue is not installed").SLURMJob
    options = slurm_options(ClusterSettings(kind="slurm", host="h", cpus=2, memory="4GB"), inherited)
    for name in ("scheduler_options", "security"):
        options.pop(name)
    with dask.config.set({"jobqueue.slurm.log-directory": None}):
        script = str(job("tcp://10.0.0.1:8786", name="w", **options).job_script())
    assert "#SBATCH" in script
    assert SECRET not in script
