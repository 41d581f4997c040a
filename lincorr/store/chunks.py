"""How arrays are divided into chunks: each chunk is one file, with a checksum of its own."""

from typing import Any

import zarr
from zarr.codecs import Crc32cCodec

from lincorr.text import MISSING_TEXT

CHUNK_BYTES = 16 * 2**20  # column panels read well, and no file is tiny
_TABLE_ROWS = 4096
MISSING_ID = -2  # what a missing chunk of ids reads as; no token has such an id


def checksummed() -> list[Crc32cCodec]:
    """The codecs of every chunk: CRC-32C, and no compression, since logits shrink by 1.17 at best."""
    return [Crc32cCodec()]


def panel(width: int, bytes_per_column: int) -> int:
    """Return the number of columns in a chunk of about `CHUNK_BYTES`, if all chunks are nearly equal."""
    panels = max(1, -(-width * bytes_per_column // CHUNK_BYTES))
    return max(1, -(-width // panels))


def create_table(group: zarr.Group, name: str, kind: Any, dimension: str) -> None:
    """Make an empty one-dimensional array of int64 ids or texts to append to, replacing an existing one."""
    group.create_array(
        name,
        shape=(0,),
        chunks=(_TABLE_ROWS,),
        dtype=kind,
        fill_value=MISSING_TEXT if kind is str else MISSING_ID,
        compressors=checksummed(),
        dimension_names=(dimension,),
        overwrite=True,
    )
