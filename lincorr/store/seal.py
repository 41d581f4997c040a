"""Checksums of JSON values, which Zarr keeps in zarr.json without any."""

import json
import zlib
from typing import Any


def seal(values: Any) -> str:
    """Return the CRC-32 of JSON values, eight hexadecimal digits; the order of keys does not count."""
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"
