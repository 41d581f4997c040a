"""Worker processes, as the system shows them."""

import psutil


def worker_processes(client: int | None = None) -> list[psutil.Process]:
    """Return Dask's worker processes below a client's process, or below this one: spawned, or forked."""
    found = []
    for child in psutil.Process(client).children(recursive=True):
        if child.status() == psutil.STATUS_ZOMBIE:
            continue
        forked = all("multiprocessing.forkserver" in _command(one) for one in (child, child.parent()))
        if forked or "spawn_main" in _command(child):
            found.append(child)
    return found


def _command(process: psutil.Process | None) -> str:
    return "" if process is None else " ".join(process.cmdline())
