"""Time limits of SLURM jobs: workers stop taking tasks before their job is killed."""

import re

_LONGEST_MARGIN = 600  # seconds before the time limit

_DAYS = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?")  # days-hours[:minutes[:seconds]]
_HOURS = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)")  # [[hours:]minutes:]seconds, and minutes alone


def seconds_of(walltime: str) -> int | None:
    """Return the seconds of a time limit as `sbatch --time` takes it, None if it is none or unreadable."""
    if match := _DAYS.fullmatch(walltime):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if match := _HOURS.fullmatch(walltime):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if match[2] is None:
            return seconds * 60 or None  # 0: no limit
        return (hours * 60 + minutes) * 60 + seconds or None
    return None


def lifetime(walltime: str | None) -> dict[str, str]:
    """Return the Dask settings with which a worker drains before its job's time limit, at most 10 minutes.

    Workers that start together stop at different times, so that some go on while new jobs wait.
    """
    seconds = seconds_of(walltime) if walltime else None
    if seconds is None:
        return {}
    margin = min(seconds / 4, _LONGEST_MARGIN)
    return {
        "distributed.worker.lifetime.duration": f"{seconds - margin:.0f}s",
        "distributed.worker.lifetime.stagger": f"{margin / 4:.0f}s",
    }
