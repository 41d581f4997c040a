"""Runs on a real SLURM of the test's own: jobs that are refused, wait, end too early or are interrupted."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lincorr.errors import BadInput
from pipeline.runtime.clusters.slurm_refusals import refusal, setting_of
from pipeline.runtime.clusters.slurm_time import drain_lines, seconds_of
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage
from tests.commands import flags_of
from tests.pipeline.cli.toy import write_catalogue
from tests.pipeline.conftest import PATIENCE
from tests.pipeline.runtime.four_gpus import environment
from tests.processes import starting
from tests.slurm import JOB, queue, wait_until, with_
from tests.stores import array

SCRIPT = Path(__file__).parents[3] / "deploy/slurm/run.sbatch"

# Time limits


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [
        ("30", 1800),
        ("30:20", 1820),
        ("04:00:00", 14400),
        ("2-0", 172800),
        ("1-12:30", 131400),
        ("1-0:0:5", 86405),
        ("0", None),
        ("UNLIMITED", None),
        ("soon", None),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(walltime, seconds):
    assert seconds_of(walltime) == seconds


def test_a_worker_drains_before_its_job_ends():
    for walltime, limit, shortest in (("04:00:00", 14400, 13800), ("00:01:00", 60, 40)):
        shell = "; ".join([*drain_lines(walltime), "echo $(( LINCORR_DRAIN_AT - $(date +%s) ))"])
        after = int(subprocess.check_output(["bash", "-c", shell]))
        assert shortest - 1 <= after < (shortest + limit) / 2
    assert drain_lines("0") == drain_lines(None) == []


# Refusals


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"queue": "gone"}, "queue", "invalid partition specified: gone"),
        ({"queue": "paid"}, "directives", "account"),
        ({"queue": "short", "walltime": "10:00:00"}, "walltime", "time limit"),
        ({"walltime": "soon"}, "walltime", "--time"),
        ({"gpus": 9}, "cpus, cluster.memory or cluster.gpus", "node configuration"),
        ({"memory": "900GB"}, "cpus, cluster.memory or cluster.gpus", "node configuration"),
        ({"directives": ("--gres=fpga:1",)}, "gpus", "gres"),
        ({"directives": ("--constraint=a100",)}, "directives", "feature"),
        ({"directives": ("--nonsense",)}, "directives", "unrecognized option"),
    ],
)
def test_what_slurm_refuses_is_one_line_that_names_the_setting(changes, name, said, home):
    with (
        pytest.raises(BadInput, match=rf"^cluster\.{name}: SLURM takes no such job") as caught,
        open_executor(with_(**changes), model_bytes=1, tell=lambda _: None),
    ):
        pass
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert queue("--states=all") == []


def test_a_controller_that_is_away_is_named():
    said = refusal(
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"
    )
    assert setting_of(said) == "cluster.kind"
    assert said.startswith("Batch job submission failed: Unable")


# A run through jobs


@pytest.fixture
def run(home: Path, toy_model: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a verb of the command line on the toy model."""
    catalogue = write_catalogue(home / "toy.yaml")
    with starting() as launch:

        def run(verb: str, store: Path, **flags: object) -> subprocess.Popen[str]:
            options = {
                "model": toy_model,
                "catalogue": catalogue,
                "relations": "toy",
                "subjects-count": 60,
                "store": store,
                "store-shard-rows": 1,
                "cluster-batch-tokens": 128,
                "cluster-threads": 1,
            } | {name.replace("_", "-"): value for name, value in flags.items()}
            return launch(verb, *flags_of(options))

        yield run


def slurm_flags(**changes: object) -> dict[str, object]:
    """The flags of `JOB`."""
    settings = JOB.model_dump(exclude_defaults=True) | changes
    return {f"cluster_{name}": value for name, value in settings.items()}


def done(store: Path) -> int:
    return sum(1 for _ in store.glob("done/*/c/*/0"))


def test_ctrl_c_while_jobs_wait_ends_them_too(run, home):
    process = run("extract", home / "run.zarr", **slurm_flags(directives="--begin=now+1hour"))
    wait_until(
        lambda: queue("--states=pending") or process.poll() is not None, "nothing is submitted", PATIENCE
    )
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("error: interrupted; what was done is stored")
    assert queue() == []


@pytest.mark.slow
def test_a_run_through_jobs_outlives_scancel_and_has_the_bits_of_a_run_here(run, home):
    here, there = home / "here.zarr", home / "there.zarr"
    process = run("run", there, report_folder=home / "there", **slurm_flags(workers=2))
    wait_until(lambda: done(there) or process.poll() is not None, "no record", PATIENCE)
    first = {line.split()[0] for line in queue()}
    subprocess.run(["scancel", "--me", "--signal=KILL", "--full"], check=True)
    at = done(there)
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, err
    assert at < 120, "the run was over before its jobs were cancelled"
    assert "is submitted again" in out + err
    assert queue() == []
    assert {line.split()[0] for line in queue("--states=all")} > first
    undisturbed = run("run", here, report_folder=home / "here", cluster_kind="serial")
    undisturbed.communicate(timeout=2 * PATIENCE)
    assert undisturbed.returncode == 0
    for name in ("logits/city", "logits/country", "hidden/city"):
        assert array(here, name).tobytes() == array(there, name).tobytes(), name
    for path in sorted(here.glob("maps/**/c/**")):
        if path.is_file():
            assert path.read_bytes() == (there / path.relative_to(here)).read_bytes(), path


@pytest.mark.slow
def test_ctrl_c_in_mid_run_leaves_no_job(run, home):
    process = run("extract", home / "run.zarr", **slurm_flags(workers=2))
    wait_until(lambda: done(home / "run.zarr") or process.poll() is not None, "no record", PATIENCE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    wait_until(lambda: not queue(), "jobs are left", 10)


@pytest.mark.slow
def test_a_queue_that_never_starts_is_told_each_minute_and_given_up(run, home):
    flags = slurm_flags(directives="--begin=now+1hour", wait=1.3)
    process = run("extract", home / "run.zarr", **flags)
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 1, err
    (line,) = [line for line in (out + err).splitlines() if "for 60 s" in line]
    assert line.startswith(
        "No worker has come for 60 s; waiting up to 78 s for one (cluster.wait): 1 job PENDING"
    )
    assert "(BeginTime)" in line
    assert "(BeginTime)" in err.splitlines()[-1]
    assert queue() == []


# GPUs


@pytest.mark.slow
def test_a_job_with_two_gpus_has_a_worker_for_each(home, monkeypatch):
    """The real dask-cuda on make-believe GPUs."""
    if importlib.util.find_spec("dask_cuda") is None:
        pytest.skip("dask-cuda is not installed; pip install --no-deps dask-cuda")
    for name, value in environment(home / "stubs", None).items():
        monkeypatch.setenv(name, value)

    def where(_: int) -> tuple[str, str]:
        time.sleep(0.3)
        return os.environ["SLURM_JOB_ID"], os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0]

    with open_executor(with_(gpus=2, workers=2, cpus=2), model_bytes=1, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        executor._client.wait_for_workers(2, timeout=PATIENCE)
        workers = executor._client.scheduler_info()["workers"].values()
        assert [worker["resources"] for worker in workers] == [{"GPU": 1}] * 2
        assert [worker["nthreads"] for worker in workers] == [2, 2]
        places = set(executor.run(Stage("where", where, range(20), overlapping=True, on_device=True)))
    assert len({job for job, _ in places}) == 1
    assert {gpu for _, gpu in places} == {"0", "1"}


# The run itself as a job

ACTIVATE = """\
PATH={home}/venv/bin:$PATH
export OMP_NUM_THREADS=1
"""
CONFIG = """\
model: {model}
catalogue: {home}/toy.yaml
relations: [toy]
subjects: {{count: 20}}
store: {home}/run.zarr
cluster: {{kind: slurm, host: 127.0.0.1, queue: cpu, walltime: "00:05:00", memory: 2GB, cpus: 1}}
"""


@pytest.mark.slow
def test_the_batch_script_runs_as_it_is_and_its_jobs_end_with_it(home, toy_model, monkeypatch):
    write_catalogue(home / "toy.yaml")
    (home / "run.yaml").write_text(CONFIG.format(home=home, model=toy_model))
    (home / "venv/bin").mkdir(parents=True)
    (home / "venv/bin/activate").write_text(ACTIVATE.format(home=home))
    command = home / "venv/bin/lincorr"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("LINCORR_VENV", str(home / "venv"))
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[2]))
    submit = ["sbatch", "--parsable", str(SCRIPT), "run.yaml"]

    def job() -> str:
        return subprocess.run(submit, check=True, capture_output=True, text=True).stdout.strip()

    first = job()
    wait_until(lambda: len(queue()) == 2, "the run submits no job", PATIENCE)
    subprocess.run(["scancel", first], check=True)
    wait_until(lambda: not queue(), "the workers' job is left", 60)
    log = home / f"lincorr-{job()}.log"
    wait_until(lambda: not queue(), "the run does not end", 2 * PATIENCE)
    assert (home / "run-report/report.html").exists(), log.read_text()
