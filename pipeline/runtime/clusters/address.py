"""A scheduler that is already running."""

from distributed import Client

from lincorr.errors import BadInput

_PATIENCE = "10s"


def connect(address: str) -> Client:
    """Return a client of the scheduler at an address.

    Raises:
        BadInput: no scheduler answers, or it refuses this client.
    """
    try:
        return Client(address, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError, RuntimeError, TimeoutError) as problem:
        raise BadInput(
            f"cluster.address: no Dask scheduler answers at {address!r} ({_one_line(problem)}); start one "
            "with `dask scheduler`; one with TLS is reached at tls://, with a certificate of its own "
            "authority in cluster.tls"
        ) from problem


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
