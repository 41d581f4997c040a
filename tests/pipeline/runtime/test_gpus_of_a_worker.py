"""Workers with several GPUs each, wherever they are started."""

import inspect
from pathlib import Path

import pytest
import yaml
from distributed import Client

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.gpus import grouped
from pipeline.runtime.clusters.kubernetes import cluster_resource
from pipeline.runtime.clusters.slurm import slurm_options, slurm_threads
from pipeline.runtime.clusters.ssh import ssh_options
from pipeline.runtime.dask_executor import DaskExecutor
from pipeline.runtime.executor import Stage

KUBERNETES = Path(__file__).parents[3] / "deploy" / "kubernetes"


@pytest.mark.parametrize("gpus", [None, 4])
def test_a_slurm_job_has_one_worker_with_all_its_gpus(gpus):
    settings = ClusterSettings(kind="slurm", host="h", memory="64GB", cpus=16, gpus=gpus, gpus_per_worker=4)
    options = slurm_options(settings, {})
    assert options["processes"] == 1
    assert options["job_extra_directives"] == ["--gres=gpu:4"]
    assert "worker_command" not in options  # Dask's own, which sees what SLURM gives to the job
    assert "GPU=1" in options["worker_extra_args"]
    assert "--device-memory-limit" not in options["worker_extra_args"]
    assert slurm_threads(settings) == 16


@pytest.mark.parametrize(("limit", "refused"), [("4", False), ("2", True), (None, True)])
def test_pods_with_fewer_gpus_than_a_worker_needs_are_refused(limit, refused, tmp_path):
    resource = yaml.safe_load((KUBERNETES / "cluster.yaml").read_text())
    limits = resource["spec"]["worker"]["spec"]["containers"][0]["resources"]["limits"]
    limits.pop("nvidia.com/gpu")
    if limit is not None:
        limits["nvidia.com/gpu"] = limit
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(resource))
    settings = ClusterSettings(kind="kubernetes", spec=path, gpus_per_worker=4)
    if not refused:
        assert cluster_resource(settings, {})["spec"]["worker"]["spec"]
        return
    with pytest.raises(BadInput, match=rf"^cluster\.spec: .* limited to {limit or 0} GPUs.* is 4; limit it"):
        cluster_resource(settings, {})


def test_a_host_whose_worker_has_several_gpus_has_a_plain_worker():
    from distributed import Nanny

    options = ssh_options(ClusterSettings(kind="ssh", hosts=("a", "b"), gpus_per_worker=4))
    assert options["worker_class"] == "distributed.Nanny"
    assert set(options["worker_options"]) <= set(inspect.signature(Nanny).parameters)
    assert options["worker_options"]["resources"] == {"GPU": 1}


def test_workers_share_no_gpu():
    def seen(_: int) -> tuple[int, str]:
        import os
        import time

        time.sleep(0.2)
        return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]

    settings = ClusterSettings(kind="gpus", gpus_per_worker=2)
    with grouped(settings, ["3", "1", "GPU-a", "0"]) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=30)
        stage = Stage("seen", seen, range(8), overlapping=True, on_device=True)
        found = DaskExecutor(client, 2).run(stage)
        resources = [worker["resources"] for worker in client.scheduler_info()["workers"].values()]
    assert {devices for _, devices in found} == {"3,1", "GPU-a,0"}
    assert len(set(found)) == 2  # one process each
    assert resources == [{"GPU": 1}] * 2
