"""Whether others can reach a cluster without a certificate: whoever reaches one runs code on it."""

import ipaddress

from pipeline.config import ClusterSettings

_LISTENING = ("local", "gpus", "ssh", "slurm")  # kinds whose scheduler listens on cluster.host


def exposure_note(settings: ClusterSettings) -> str | None:
    """Return a warning where others can reach the scheduler and nothing asks them who they are."""
    host = settings.host or (settings.hosts[0] if settings.kind == "ssh" else "localhost")
    if settings.kind not in _LISTENING or settings.tls is not None or _is_loopback(host):
        return None
    return (
        f"Warning: whoever reaches {host} can run code on scheduler and workers, and read their memory; set "
        "cluster.tls, or keep to a network that you trust"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
