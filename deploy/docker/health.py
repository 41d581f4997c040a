"""HEALTHCHECK of the images: whether the container's scheduler or worker answers, by its exit code.

Asked is what the container was started with as --dashboard-address: Dask serves /health there, also without a
dashboard. A container started with something else is healthy as long as it runs.
"""

import sys
from pathlib import Path
from urllib.request import urlopen

_PATIENCE = 5  # seconds


def address(command: list[str]) -> str | None:
    """Return the address on which a command line has Dask serve HTTP, such as "127.0.0.1:8788"."""
    words = [part for word in command for part in word.split("=", 1)]
    if "--dashboard-address" not in words[:-1]:
        return None
    host, _, port = words[words.index("--dashboard-address") + 1].rpartition(":")
    return f"{'127.0.0.1' if host in ('', '0.0.0.0') else host}:{port}"


def main() -> None:
    """Exit with 1 where the container's server does not answer."""
    served = address(Path("/proc/1/cmdline").read_text().split("\0"))
    try:
        if served:
            urlopen(f"http://{served}/health", timeout=_PATIENCE).close()
    except OSError as problem:
        sys.exit(f"no answer from {served}: {problem}")


if __name__ == "__main__":
    main()
