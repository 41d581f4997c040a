"""How arrays are cut into chunks: each chunk one file, with a checksum of its own."""

from typing import Any

import zarr
from zarr.codecs import Crc32cCodec

CHUNK_BYTES = 16 * 2**20  # column panels read well, and no file is tiny
_TABLE_ROWS = 4096
# What a lost chunk of ids or of texts reads as; no token has such an id or such a text.
MISSING_ID = -2
MISSING_TEXT = "\ue000missing"


def checksummed() -> list[Crc32cCodec]:
    """The codecs of every chunk. Logits hardly compress (1.17 times at best), so they are not."""
    return [Crc32cCodec()]


def panel(width: int, bytes_per_column: int) -> int:
    """Return how many of `width` columns make a chunk of about `CHUNK_BYTES`, spread evenly."""
    panels = max(1, -(-width * bytes_per_column // CHUNK_BYTES))
    return max(1, -(-width // panels))


def create_table(group: zarr.Group, name: str, kind: Any, dimension: str) -> None:
    """Make an empty one-dimensional array that can be appended to; one that is there is replaced."""
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
