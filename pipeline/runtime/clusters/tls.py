"""One setting for TLS: client, scheduler and workers show each other certificates of one authority."""

import ssl
from typing import Any

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings

_ROLES = ("client", "scheduler", "worker")


def tls_settings(settings: ClusterSettings) -> dict[str, Any]:
    """Return the Dask settings for TLS, empty if it is off; they hold paths, never keys.

    Raises:
        BadInput: a file cannot be read, or the three do not belong together.
    """
    if settings.tls is None:
        return {}
    authority, certificate, key = (str(path.absolute()) for path in settings.tls_files())
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"cluster.tls: {authority}, {certificate} and {key} are not an authority, a certificate "
            f"and a key without a password ({problem}); give a folder with ca.pem, cert.pem and key.pem, or "
            "three paths"
        ) from None
    files = {
        f"{role}.{part}": path for role in _ROLES for part, path in (("cert", certificate), ("key", key))
    }
    files["ca-file"] = authority
    return {
        "distributed.comm.require-encryption": True,
        "distributed.comm.default-scheme": "tls",
    } | {f"distributed.comm.tls.{name}": path for name, path in files.items()}


def _no_password() -> str:
    """Called for a key with a password; prompting for it would hang a run."""
    raise ValueError("the key has a password")
