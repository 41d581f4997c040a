"""What computes here, so that every worker computes with the same."""

import functools
import hashlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("torch", "transformers")


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of each package that results come from, by name.

    That of lincorr is a digest of its sources: two copies of one release may have been changed. Builds for
    CPUs and GPUs have one version.
    """
    digest = hashlib.sha256()
    for package in ("lincorr", "pipeline"):
        spec = importlib.util.find_spec(package)
        root = Path(str(spec and spec.origin)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    found = {"lincorr": f"(sources {digest.hexdigest()[:8]})"}
    return found | {name: version(name).partition("+")[0] for name in _PACKAGES}


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """Say in which versions a worker is another than the run; None if it is not.

    Args:
        theirs: `versions` of the worker.
        ours: of the run.
    """
    return (
        ", ".join(
            f"{name} {theirs.get(name, 'none')} in place of {version}"
            for name, version in ours.items()
            if theirs.get(name) != version
        )
        or None
    )
