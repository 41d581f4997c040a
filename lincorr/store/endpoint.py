"""What the environment says of S3: checked here, since obstore panics at what is no URL or no header."""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from lincorr.errors import BadInput
from lincorr.redact import NO_CREDENTIALS, has_credentials

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_WORDS = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_URL = re.compile(
    r"https?://(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[!$-;=@-~]*)?", re.ASCII
)


def s3_endpoint() -> str | None:
    """Return the URL of the S3 server; None for Amazon's own.

    Raises:
        BadInput: a variable cannot be used; its value is not repeated, since it may be secret.
    """
    for name in _WORDS:
        if not re.fullmatch(r"[!-~]*", os.environ.get(name, "")):
            raise BadInput(
                f"{name}: this environment variable has a space, a line end or a letter beyond ASCII"
            )
    for name in _ENDPOINTS:
        endpoint = os.environ.get(name)
        if endpoint:
            _require_url(name, endpoint)
            return endpoint
    return None


def _require_url(name: str, endpoint: str) -> None:
    if has_credentials(endpoint):
        raise BadInput(f"{name}: {NO_CREDENTIALS} (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
    found = _URL.fullmatch(endpoint)
    if found is None or not _is_host(found["host"]) or not _has_port(endpoint):
        raise BadInput(f"{name}: this environment variable is no URL of a server; write https://host[:port]")


def _is_host(host: str) -> bool:
    """Whether a host is a name, or an address that exists: one that ends in a number is an address."""
    if not host.startswith("[") and not re.fullmatch(r"\d+|0x[0-9a-fA-F]*", host.rstrip(".").split(".")[-1]):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
