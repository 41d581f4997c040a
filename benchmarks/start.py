"""How long a run takes to begin: seconds from the command to the first forward pass of its own work.

    python benchmarks/start.py examples/demo.yaml --store-path /tmp/start.zarr

Give it a store that does not exist. It extracts 512 subjects and prints when each phase ended.
"""

import sys
import time

import psutil

_BEGAN = psutil.Process().create_time()


def main(config: str, overrides: dict[str, str]) -> None:
    """Extract, and print the phases by this process's and the workers' clocks."""
    from pipeline.cli.settings import job_with_workers, settings_of

    phases = [("command line read", time.time())]
    with job_with_workers(settings_of(config, {"subjects.count": "512"} | overrides), True) as run:
        phases.append(("client's libraries imported", time.time()))
        run.require_places()
        phases.append(("inputs prepared", time.time()))
        plan = run.plan()
        phases.append(("planned", time.time()))

        def tell(line: str) -> None:
            print(line, file=sys.stderr)
            if line.startswith("Dask dashboard"):
                phases.append(("workers there", time.time()))
            elif line.endswith("tokens a pass"):
                phases.append(("model loaded and checked", time.time()))

        run.narrator.tell = tell  # type: ignore[method-assign,assignment]
        receipts = run.extract(plan)
    phases.append(("first forward pass of the run's own work", min(receipt.began for receipt in receipts)))
    for what, when in phases:
        print(f"{when - _BEGAN:6.1f} s  {what}")


if __name__ == "__main__":
    names = [name.removeprefix("--").replace("-", ".", 1) for name in sys.argv[2::2]]
    main(sys.argv[1], dict(zip(names, sys.argv[3::2], strict=True)))
