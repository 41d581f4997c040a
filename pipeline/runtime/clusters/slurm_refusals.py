"""What SLURM refuses, found out before a job is submitted: it would be refused later, or wait for ever."""

import os
import re
import subprocess

from lincorr.errors import BadInput

_PATIENCE = 120  # seconds; sbatch itself tries for 60 to read its settings, and to reach a controller

# In what sbatch says -> the setting that it is about.
_ABOUT = (
    (r"controller|configuration file|timed out|[Ss]ocket", "cluster.kind"),
    (
        r"partition specified|partition name|group not permitted|[Pp]artition .*(down|inactive)",
        "cluster.queue",
    ),
    (r"account|qos|QOS|reservation|feature|unrecognized option", "cluster.directives"),
    (r"gres", "cluster.gpus"),
    (r"--time|[Tt]ime limit", "cluster.walltime"),
    (r"--mem|[Mm]emory", "cluster.memory"),
    (r"CPU count|processors", "cluster.cpus"),
    (r"node configuration", "cluster.cpus, cluster.memory or cluster.gpus"),
)


def refuse_what_slurm_refuses(script: str) -> None:
    """Ask SLURM whether it would take a job's script, without submitting it.

    Raises:
        BadInput: it would not; the line names the setting.
    """
    english = os.environ | {"LC_ALL": "C"}
    try:
        asked = subprocess.run(
            ["sbatch", "--test-only"],
            input=script,
            capture_output=True,
            text=True,
            env=english,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"cluster.kind: SLURM does not answer (sbatch, {_PATIENCE} s)") from None
    except OSError as problem:
        raise BadInput(f"cluster.kind: sbatch cannot be run ({problem.strerror})") from None
    if asked.returncode:
        said = refusal(asked.stderr)
        raise BadInput(f"{setting_of(said)}: SLURM takes no such job ({said})")


def refusal(stderr: str) -> str:
    """Return what sbatch says, in one line: each line but for its beginning, and no advice."""
    lines = (
        re.sub(r"^(sbatch: )?((error|fatal|allocation failure): )?", "", line) for line in stderr.splitlines()
    )
    said = [line.strip() for line in lines if line.strip() and not line.startswith("Try ")]
    return "; ".join(dict.fromkeys(said)) or "without a reason"


def setting_of(said: str) -> str:
    """Return the name of the setting that a refusal is about, as far as can be told."""
    return next((name for pattern, name in _ABOUT if re.search(pattern, said)), "cluster.directives")
