"""The error that names an optional package which is not installed."""

from lincorr.errors import BadInput


def missing(kind: str, package: str, extra: str) -> BadInput:
    """Return the error for a kind of cluster whose package is not installed."""
    return BadInput(f"cluster.kind: {kind} needs the package {package}; run `pip install 'lincorr[{extra}]'`")
