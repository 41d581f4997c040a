"""What SLURM says of a user's jobs: their states, why they wait, and what a job wrote before it ended."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

_LINES = 10  # of a job's log

# In SLURM's reason for a job that waits -> what helps; other reasons pass by themselves.
_MENDS = (
    (
        r"Invalid(Account|QOS)|(Account|QOS)NotAllowed|use this partition",
        "name one that this partition allows (--account, --qos in cluster.directives), or set cluster.queue",
    ),
    (r"Partition(Down|Inactive)", "set another cluster.queue"),
    (r"TimeLimit|WallDurationPerJob", "set cluster.walltime lower"),
    (
        r"PartitionNodeLimit|BadConstraints|MaxMemPerLimit|Max\w+Per(Job|Node)",
        "set cluster.cpus, cluster.memory or cluster.gpus lower, or mend cluster.directives",
    ),
    (r"DependencyNeverSatisfied", "mend cluster.directives"),
    (r"[Hh]eld", "`scontrol release` lets it go, or an administrator does"),
)

Queue = Mapping[str, tuple[str, str]]  # job -> state, reason


def waiting(jobs: Iterable[str | None], queue: Queue) -> str:
    """Describe jobs by their states and SLURM's reasons, such as "2 jobs PENDING (Resources)"."""
    known = Counter(queue[job] for job in jobs if job and job in queue)
    parts = []
    for (state, reason), count in known.items():
        why = f" ({reason})" if reason not in ("", "None") else ""
        helps = f": {help}" if state == "PENDING" and (help := mend(reason)) else ""
        parts.append(f"{count} job{'s' * (count > 1)} {state}{why}{helps}")
    return ", ".join(parts) or "no job in its queue"


def mend(reason: str) -> str | None:
    """Return what helps a job that waits for this reason; None where waiting may."""
    return next((help for pattern, help in _MENDS if re.search(pattern, reason)), None)


async def ask_queue() -> Queue | None:
    """Return state and reason of every job of this user, also of those that ended lately; None if unknown."""
    out = await _said("squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r")
    if out is None:
        return None
    rows = (line.split("|", 2) for line in out.splitlines())
    return {row[0]: (row[1], row[2].strip()) for row in rows if len(row) == 3}


async def last_lines(job: str) -> tuple[str, list[str]]:
    """Return the name of a job's log, as SLURM has it, and its last lines; none where it cannot be read."""
    fields = re.findall(
        r"^\s*(Std(?:Err|Out))=(.*)$", await _said("scontrol", "show", "job", job) or "", re.M
    )
    name = dict(fields).get("StdErr") or f"slurm-{job}.out"
    try:
        text = Path(name).read_bytes()[-10_000:].decode(errors="replace")
    except OSError:
        return name, []
    return name, [line for line in text.splitlines() if line.strip()][-_LINES:]


async def _said(*command: str) -> str | None:
    """Return what a command of SLURM prints, None if it fails."""
    try:
        asked = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError:
        return None
    out, _ = await asked.communicate()
    return None if asked.returncode else out.decode(errors="replace")
