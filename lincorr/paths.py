"""Paths as users write them in settings, catalogues and flags: ``~`` and ``$NAME`` mean the same in all."""

import os
import re
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lincorr.errors import BadInput

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
_LONGEST = 255  # bytes of a name, in every usual file system


def as_meant(path: str, setting: str) -> str:
    """Return a path, URL or model's source with a leading ``~`` and variables of the environment expanded.

    A URL ``file:///folder`` is that folder.

    Args:
        setting: what it is the value of, for messages.

    Raises:
        BadInput: there is no such variable or home folder, or no path can be written so.
    """
    for name in (plain or braced for plain, braced in _VARIABLE.findall(path)):
        if name not in os.environ:
            raise BadInput(
                f"{setting}: {path!r} names the variable {name!r}, which is not set; set it, or leave $ out"
            )
    whole = os.path.expanduser(os.path.expandvars(path))
    if whole.startswith("~"):
        raise BadInput(
            f"{setting}: {path!r}: there is no such home folder; if it is a file's name, write ./~"
        )
    if whole.lower().startswith("file:"):
        whole = _local(whole, setting)
    elif re.match(r"[a-z]\w+:/(?!/)", whole):
        raise BadInput(
            f"{setting}: {path!r} has one slash after the colon; write two, as in s3://bucket/a.zarr"
        )
    try:
        names = whole.encode("utf-8").split(b"/")
    except UnicodeEncodeError:
        raise BadInput(f"{setting}: {path!r} is not UTF-8; rename the file or folder") from None
    if b"\0" in whole.encode("utf-8"):
        raise BadInput(f"{setting}: {path!r} has a NUL, which no path may have; leave it out")
    if any(len(name) > _LONGEST for name in names):
        raise BadInput(f"{setting}: a name of more than {_LONGEST} bytes is in {path!r}; give a shorter one")
    return whole


def _local(url: str, setting: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise BadInput(f"{setting}: {url!r} names no file of this machine; write file:/// and its whole path")
    return url2pathname(parts.path)
