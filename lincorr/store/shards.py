"""Shards: consecutive subjects under a template, written whole, committed by a record, checked when read.

A done-record holds the number of rows written, the CRC-32 of the logits and of the hidden states, and what
an audit found (see `Audit`). A shard without a record was never extracted; one whose data do not match it
is damaged, and is repaired by writing it again.
"""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.relations.relation import Template
from lincorr.scores.audit import NOT_AUDITED, Audit
from lincorr.store.descriptions import COMPARED, RECORD
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy
from lincorr.store.identity import Kind

DEFAULT_SHARD_ROWS = 512
GPU_SHARD_ROWS = 4096

Fault = Literal["not extracted", "incomplete", "damaged"]

_UNIT = 1e-9  # standard deviations, of a stored difference
_UNREADABLE = -1  # rows of a record that cannot be read


def _not_finite(data: NDArray[np.float32], stored: np.dtype[Any], compute: str) -> str:
    """Say which setting made numbers infinite: the precision that they are stored in, or the model's own."""
    if np.isfinite(data).all():
        return f"store.precision: {stored} is too narrow for this model's numbers, float32 is not"
    wider = "; float32 may not" if compute != "float32" else ""
    return f"model.dtype: this model overflows in {compute}{wider}"


class Shards:
    """The shards of a store, under every template. Row i of an array is subject i."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._kept: dict[tuple[str, int, bytes], NDArray[np.floating]] | None = None
        self._free = 0  # bytes that may still be kept
        self._known: dict[tuple[str, int, int], NDArray[np.int64]] = {}  # records, while rows are kept

    @property
    def count(self) -> int:
        """Number of shards that all subjects take."""
        return -(-self._hierarchy.n_subjects // self._hierarchy.identity.shard_rows)

    def rows(self, shard: int) -> slice:
        """Return the rows of a shard; the last shard may be short."""
        size = self._hierarchy.identity.shard_rows
        return slice(shard * size, min((shard + 1) * size, self._hierarchy.n_subjects))

    # --- arrays -----------------------------------------------------------------------------------

    def extend(self, templates: Iterable[Template]) -> None:
        """Give the arrays of all templates a row for every subject; a killed run may have left some short."""
        hierarchy = self._hierarchy
        for template in templates:
            for key, rows in [
                *((f"{kind}/{template.name}", hierarchy.n_subjects) for kind in hierarchy.identity.kinds),
                (f"done/{template.name}", self.count),
            ]:
                array = hierarchy.array(key)
                if array.shape[0] < rows:
                    array.resize((rows, *array.shape[1:]))

    def require_free(self, row: int, templates: Iterable[Template]) -> None:
        """Refuse to give rows from `row` on to new subjects where a record says that they were written.

        Raises:
            StoreDamaged: one does.
        """
        first = row // self._hierarchy.identity.shard_rows
        for template in templates:
            shards = np.arange(first, self._hierarchy.array(f"done/{template.name}").shape[0])
            written = {shard: int(self._record(template.name, int(shard))[0]) for shard in shards}
            if any(self.rows(int(shard)).start + rows > row for shard, rows in written.items() if rows > 0):
                raise StoreDamaged(
                    f"store: n_subjects in zarr.json of {self._hierarchy.url!r} is {row}, and more were "
                    "extracted; restore that file from a copy, or extract into another store"
                )

    # --- write ------------------------------------------------------------------------------------

    def write(
        self,
        name: str,
        shard: int,
        logits: NDArray[np.float32],
        hidden: NDArray[np.float32] | None,
        audit: Audit = NOT_AUDITED,
    ) -> int:
        """Write all rows of a shard, then its record.

        Args:
            name: of the template.
            logits: (rows, columns).
            hidden: (rows, width), or None where hidden states are not stored.
            audit: of those rows.

        Returns:
            Bytes written, in stored precision.

        Raises:
            LincorrError: a value is not finite in stored precision.
        """
        rows = self.rows(shard)
        record = [rows.stop - rows.start, 0, 0, audit.prompts, round(audit.difference / _UNIT)]
        written = 0
        for position, (kind, data) in enumerate((("logits", logits), ("hidden", hidden)), start=1):
            if data is not None:
                array = self._hierarchy.array(f"{kind}/{name}")
                with np.errstate(over="ignore"):  # refused below
                    stored = np.ascontiguousarray(data.astype(array.dtype))
                if not np.isfinite(stored).all():
                    raise LincorrError(
                        f"{_not_finite(data, array.dtype, self._hierarchy.identity.compute)}: {kind} of "
                        f"template {name!r}, shard {shard}, are not all finite; extract into another store"
                    )
                array[rows] = stored
                record[position] = zlib.crc32(stored.data)
                written += stored.nbytes
        records = self._hierarchy.array(f"done/{name}")
        records[shard] = np.array(record[: records.shape[1]])
        return written

    # --- check ------------------------------------------------------------------------------------

    def fault(self, name: str, shard: int) -> Fault | None:
        """Read a shard and return what is wrong with it; None if it is complete and undamaged."""
        return self._fault(name, shard, self._record(name, shard))

    def _fault(self, name: str, shard: int, record: NDArray[np.int64]) -> Fault | None:
        rows = self.rows(shard)
        if record[0] == 0:
            return "not extracted"
        try:
            for kind in self._hierarchy.identity.kinds:
                self._verified(kind, name, shard, record)
        except StoreDamaged:
            return "damaged"
        return None if record[0] == rows.stop - rows.start else "incomplete"

    def whole_rows(self, name: str, shard: int) -> int:
        """Read a shard and count its rows, from the first on, that are written and undamaged."""
        record = self._record(name, shard)
        if self._fault(name, shard, record) in ("not extracted", "damaged"):
            return 0
        return int(record[0])

    def whole_rows_of(self, name: str, shards: Iterable[int]) -> dict[int, int]:
        """Return for each shard what `whole_rows` does; those without a record are not asked for one by one.

        An object store lists a thousand records in the time of reading one.
        """
        recorded = set(self._hierarchy.names(f"done/{name}/c"))
        return {shard: self.whole_rows(name, shard) if str(shard) in recorded else 0 for shard in shards}

    def written(self, name: str) -> NDArray[np.int64]:
        """Return for each subject (n,), by the records: 1 if it is written, 0 if not, -1 if unknown."""
        rows, size = self._all_rows(), self._hierarchy.identity.shard_rows
        records = self._records(name, rows)
        of_shard = np.array([records[int(shard)][0] for shard in rows // size], dtype=np.int64)
        return np.where(of_shard < 0, -1, rows % size < of_shard).astype(np.int64)

    def require_written(self, name: str, rows: NDArray[np.int64]) -> None:
        """Check by their records that the shards of `rows` were written; their data are not read.

        Raises:
            StoreDamaged: one is missing or incomplete, or its record is damaged.
        """
        for shard, record in self._records(name, rows).items():
            written = int(record[0])
            last = int(rows[rows // self._hierarchy.identity.shard_rows == shard].max())
            if written <= last - self.rows(shard).start:
                how = "is not extracted" if written == 0 else "is damaged" if written < 0 else "is incomplete"
                raise StoreDamaged(f"{self._where(name, shard)} {how}; run `lincorr extract`")

    def require_whole(self, name: str, rows: NDArray[np.int64]) -> None:
        """Read the shards of `rows` and check them against their checksums.

        Raises:
            StoreDamaged: one is missing or damaged.
        """
        for shard, record in self._records(name, rows).items():
            for kind in self._hierarchy.identity.kinds:
                self._verified(kind, name, shard, record)

    def digest(self, name: str, rows: NDArray[np.int64]) -> str:
        """Return a digest of the records of all shards of `rows`, eight hexadecimal digits."""
        records = np.array([record[:COMPARED] for record in self._records(name, rows).values()])
        return f"{zlib.crc32(records.tobytes()):08x}"

    # --- audit ------------------------------------------------------------------------------------

    def audit(self, name: str, shard: int | None = None) -> Audit:
        """Return what was found in a shard, or in all shards of a template; data are not read."""
        if shard is None:
            found = list(self._records(name, self._all_rows()).values())
        else:
            found = [self._record(name, shard)]
        audits = [Audit(int(r[3]), float(r[4]) * _UNIT) for r in found if len(r) == len(RECORD)]
        return sum(audits, NOT_AUDITED)

    # --- read -------------------------------------------------------------------------------------

    def read(self, kind: Kind, name: str, shard: int) -> NDArray[np.floating]:
        """Return the written rows of a shard (rows, columns or width), in stored precision.

        Raises:
            StoreDamaged: they are missing or damaged.
        """
        return self._verified(kind, name, shard, self._record(name, shard))

    def read_rows(self, kind: Kind, name: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return the given rows (rows, columns or width), in stored precision; whole shards are read.

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        array = self._hierarchy.array(f"{kind}/{name}")
        size = self._hierarchy.identity.shard_rows
        shards, records = rows // size, self._records(name, rows)
        result = None
        for shard, record in records.items():
            block = self._verified(kind, name, shard, record)
            mine = np.flatnonzero(shards == shard)
            inside = rows[mine] - shard * size
            if inside.max() >= len(block):
                raise StoreDamaged(
                    f"{self._where(name, shard)} has {len(block)} of its rows; run `lincorr extract`"
                )
            if len(records) == 1 and np.array_equal(inside, np.arange(len(block))):
                return block  # as it was read: no copy
            if result is None:
                result = np.empty((len(rows), array.shape[1]), dtype=array.dtype)
            if len(mine) == mine[-1] - mine[0] + 1:  # as it is when rows are in order: one copy less
                np.take(block, inside, axis=0, out=result[mine[0] : mine[-1] + 1], mode="clip")
            else:
                result[mine] = block[inside]
        return np.empty((0, array.shape[1]), dtype=array.dtype) if result is None else result

    @contextmanager
    def kept(self, most_bytes: int) -> Iterator[None]:
        """Keep what is read inside, checked and read-only, for who reads it again: `most_bytes` at most.

        Who reads the same rows for many figures has their files opened once. Nobody may write meanwhile.
        """
        self._kept, self._free, self._known = {}, most_bytes, {}
        try:
            yield
        finally:
            self._kept = None

    def _verified(self, kind: Kind, name: str, shard: int, record: NDArray[np.int64]) -> NDArray[np.floating]:
        """The rows that a record speaks of, checked against it."""
        if self._kept is None:
            return self._read(kind, name, shard, record)
        key = (f"{kind}/{name}", shard, record.tobytes())
        found = self._kept.get(key)
        if found is None:
            found = self._read(kind, name, shard, record)
            if found.nbytes <= self._free:
                found.flags.writeable = False
                self._kept[key] = found
                self._free -= found.nbytes
        return found

    def _read(self, kind: Kind, name: str, shard: int, record: NDArray[np.int64]) -> NDArray[np.floating]:
        where = self._where(name, shard)
        if record[0] == 0:
            raise StoreDamaged(f"{where} is not extracted; run `lincorr extract`")
        start = self.rows(shard).start
        try:
            data: NDArray[np.floating] = np.ascontiguousarray(
                self._hierarchy.array(f"{kind}/{name}")[start : start + int(record[0])]
            )
            intact = record[0] > 0 and zlib.crc32(data.data) == record[RECORD.index(f"{kind}_crc32")]
        except (*READ_ERRORS, StoreDamaged):
            intact = False
        if not intact:
            raise StoreDamaged(
                f"{where} is damaged: its {kind} are not what was written; run `lincorr extract` "
                "again to repair it"
            )
        return data

    # --- records ----------------------------------------------------------------------------------

    def _record(self, name: str, shard: int) -> NDArray[np.int64]:
        """The record of a shard: rows, and both checksums."""
        try:
            record: NDArray[np.int64] = self._span(name, shard, shard + 1)[0]
            return record
        except (*READ_ERRORS, StoreDamaged):
            return np.array([_UNREADABLE, *[0] * (len(RECORD) - 1)])

    def _records(self, name: str, rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """The records of the shards of `rows`, in order."""
        shards = np.unique(rows // self._hierarchy.identity.shard_rows).tolist()
        if not shards:
            return {}
        span = (name, shards[0], shards[-1] + 1)
        together = None if self._kept is None else self._known.get(span)
        if together is None:
            try:  # together: one by one takes twice as long
                together = self._span(*span)
            except (*READ_ERRORS, StoreDamaged):
                return {shard: self._record(name, shard) for shard in shards}
            if self._kept is not None:
                self._known[span] = together
        return {shard: together[shard - shards[0]] for shard in shards}

    def _span(self, name: str, start: int, stop: int) -> NDArray[np.int64]:
        """The records of consecutive shards; zeros where a killed run has made no room for one."""
        found = np.asarray(self._hierarchy.array(f"done/{name}")[start:stop])
        return np.pad(found, ((0, stop - start - len(found)), (0, 0)))

    def _all_rows(self) -> NDArray[np.int64]:
        return np.arange(self._hierarchy.n_subjects)

    def _where(self, name: str, shard: int) -> str:
        return f"store: shard {shard} of template {name!r} in {self._hierarchy.url!r}"
