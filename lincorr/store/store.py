"""The logit store: one Zarr v3 hierarchy that keeps every forward pass. Zarr lives here.

    run.zarr/                 attributes: format, identity (model, precision), number of subjects
      subjects/               id, text, class
      columns/<template>/     id, text of the logits that are kept
      logits/<template>       (subject, <template>_token)
      hidden/<template>       (subject, width), the state that enters the output head
      head/                   weight (token, width), bias
      done/<template>         (shard, record): rows written, and checksums of them
      maps/<relation>/<fit>/  weights, intercept, ids, diagnosis
      scores/<relation>       what evaluate found, as attributes

A store is extended, never rewritten. A shard of consecutive subjects is the unit of work and of commit:
one task writes its chunks, each whole and atomically, and then its done-record; chunks without a record
are no data. Row i of every array is subject i.
"""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import xarray
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import Subjects
from lincorr.readout import Readout
from lincorr.relations.relation import Template
from lincorr.store.chunks import MISSING_ID, MISSING_TEXT, checksummed, create_table, panel
from lincorr.store.identity import _REFUSALS, Identity
from lincorr.store.locations import is_remote, open_place, require_place
from lincorr.store.maps import MapStore

FORMAT = 2


DEFAULT_SHARD_ROWS = 256


GPU_SHARD_ROWS = 4096


_RECORD = ("rows", "logits_crc32", "hidden_crc32")


Kind = Literal["logits", "hidden"]


class LogitStore:
    """A store, opened. Use `create` or `open`.

    Shards that others write are seen; subjects and templates that they add are, once it is opened again.
    """

    def __init__(self, url: str, group: zarr.Group) -> None:
        self.url = url
        self._group = group
        self._head: Readout | None = None
        self._arrays: dict[str, Any] = {}

    @classmethod
    def exists(cls, url: str) -> bool:
        """Whether there is a lincorr store at `url`.

        Raises:
            BadInput: the place cannot be opened, or there is no such bucket.
            LincorrError: the server of an object store does not answer, or refuses us.
        """
        try:
            group = zarr.open_group(open_place(url), mode="r", zarr_format=3)
        except FileNotFoundError:
            require_place(url)
            return False
        except LincorrError:
            raise
        except Exception as problem:
            raise BadInput(f"store: {url!r} cannot be opened ({problem})") from problem
        return "lincorr" in group.attrs

    @classmethod
    def open(cls, url: str, *, write: bool = False) -> "LogitStore":
        """Open a store that exists.

        Raises:
            BadInput: there is none, or it is of another format.
        """
        if not cls.exists(url):
            raise BadInput(f"store: there is no lincorr store at {url!r}; run `lincorr extract` first")
        group = zarr.open_group(open_place(url), mode="r+" if write else "r", zarr_format=3)
        found = cast(Mapping[str, Any], group.attrs["lincorr"])["format"]
        if found != FORMAT:
            raise BadInput(f"store: {url!r} has format {found}, this version reads {FORMAT}")
        return cls(url, group)

    @classmethod
    def create(cls, url: str, identity: Identity) -> "LogitStore":
        """Make an empty store.

        Raises:
            BadInput: the place is taken by something else, or cannot be written.
        """
        path = Path(url)
        if not is_remote(url) and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BadInput(f"store: {url!r} is there already and is no lincorr store; name another")
        try:
            group = zarr.open_group(open_place(url), mode="w-", zarr_format=3)
            for name in ("subjects", "columns", "logits", "hidden", "done", "maps", "scores"):
                group.create_group(name)
            create_table(group, "subjects/id", np.int64, "subject")
            create_table(group, "subjects/text", str, "subject")
            create_table(group, "subjects/class", str, "subject")
            group.attrs["lincorr"] = {
                "format": FORMAT,
                "identity": asdict(identity),
                "n_subjects": 0,
            }
        except OSError as problem:
            raise BadInput(f"store: {url!r} cannot be written ({problem})") from problem
        return cls(url, group)

    # --- identity ---------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """What the store was made with."""
        stored = self._state()["identity"]
        return Identity(**{field.name: stored[field.name] for field in fields(Identity)})

    def require(self, wanted: Identity) -> None:
        """Refuse another model, tokenizer or precision than the store's.

        Raises:
            BadInput: a field differs; the message names it. Nothing was changed.
        """
        mine = self.identity
        for name, refusal in _REFUSALS.items():
            old, new = getattr(mine, name), getattr(wanted, name)
            if old != new:
                what = refusal.format(old=old, new=new)
                raise BadInput(f"{what} {mine.source!r} in {self.url!r}; use that, or name another store")

    def settings(self) -> dict[str, Any]:
        """Return the settings of the last run that extracted into this store; empty if none did."""
        return dict(self._state().get("settings", {}))

    def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Remember a run's settings: JSON values."""
        self._update_state(settings=dict(settings))

    @property
    def device(self) -> str | None:
        """The device of the worker that saw the model first, such as cpu or cuda:0; None if none said so."""
        device: str | None = self._state().get("device")
        return device

    def save_device(self, device: str) -> None:
        """Remember where the model was when the store was made."""
        self._update_state(device=device)

    # --- subjects ---------------------------------------------------------------------------------

    @property
    def n_subjects(self) -> int:
        """Subjects that the store knows."""
        return int(self._state()["n_subjects"])

    @property
    def n_shards(self) -> int:
        """Shards that hold them."""
        return -(-self.n_subjects // self.identity.shard_rows)

    def shard_slice(self, shard: int) -> slice:
        """Rows of a shard; the last one may be short."""
        size = self.identity.shard_rows
        return slice(shard * size, min((shard + 1) * size, self.n_subjects))

    def subjects(self, rows: slice | NDArray[np.int64] | None = None) -> Subjects:
        """Return the subjects of `rows`, or all of them."""
        # a slice, such as a shard, is read without the rest: a task must not cost what all subjects cost
        part, chosen = (rows, slice(None)) if isinstance(rows, slice) else (slice(0, self.n_subjects), rows)
        ids, texts, classes = (
            self._table(f"subjects/{name}", part)[slice(None) if chosen is None else chosen]
            for name in ("id", "text", "class")
        )
        return Subjects(ids.astype(np.int64), tuple(map(str, texts)), tuple(map(str, classes)), {})

    def rows_of(self, subjects: Subjects) -> NDArray[np.int64]:
        """Return the row of each subject, -1 where the store does not know it."""
        known = {key: row for row, key in enumerate(self.subjects().identifiers())}
        return np.array([known.get(key, -1) for key in subjects.identifiers()], dtype=np.int64)

    def add_subjects(self, subjects: Subjects) -> NDArray[np.int64]:
        """Append the subjects that are not there yet; return the row of every one."""
        known = {key: row for row, key in enumerate(self.subjects().identifiers())}
        start = len(known)
        new: list[int] = []
        for position, key in enumerate(subjects.identifiers()):
            if key not in known:
                known[key] = start + len(new)
                new.append(position)
        if new:
            self._append("subjects/id", subjects.ids[new], start)
            self._append("subjects/text", np.array([subjects.texts[i] for i in new], object), start)
            self._append("subjects/class", np.array([subjects.classes[i] for i in new], object), start)
            self._update_state(n_subjects=start + len(new))  # the commit
        self._fit_arrays()
        return np.array([known[key] for key in subjects.identifiers()], dtype=np.int64)

    # --- templates --------------------------------------------------------------------------------

    def templates(self) -> list[Template]:
        """Templates that have arrays here."""
        try:
            arrays = sorted(cast(zarr.Group, self._group["logits"]).arrays())
            return [Template(name, str(array.attrs["text"])) for name, array in arrays]
        except (ValueError, KeyError) as problem:
            raise StoreDamaged(
                f"store: the arrays in {self.url!r} cannot be read ({problem}); restore zarr.json of the "
                "template from a copy, or extract into another store"
            ) from problem

    def check_template(self, template: Template, ids: NDArray[np.int64]) -> None:
        """Refuse a template that cannot be added or extended; change nothing.

        Raises:
            BadInput: the store has another text under this name, or no logits of some columns and no
                hidden states to make them from.
        """
        known = {t.name: t.text for t in self.templates()}.get(template.name)
        if known is None:
            return
        if known != template.text:
            raise BadInput(
                f"template {template.name!r}: {template.text!r} where the store {self.url!r} has "
                f"{known!r} under this name; give the new text another name"
            )
        absent = np.setdiff1d(ids, self.column_ids(template.name))
        if len(absent) and not self.identity.hidden:
            raise BadInput(
                f"store: {self.url!r} keeps no logits of {len(absent)} of the answers to template "
                f"{template.name!r} and no hidden states; name another store, or set store.hidden"
            )

    def add_template(self, template: Template, columns: Columns) -> None:
        """Make the arrays of a template, unless they are there."""
        self.check_template(template, columns.ids)
        name, identity = template.name, self.identity
        if name in cast(zarr.Group, self._group["logits"]):
            return
        self._arrays.clear()
        table = self._group.require_group(f"columns/{name}")
        for part, values in (("id", columns.ids), ("text", np.array(columns.texts, object))):
            kind = np.int64 if part == "id" else str
            create_table(table, part, kind, f"{name}_token")
            self._append(f"columns/{name}/{part}", values, 0)
        self._group.create_array(
            f"done/{name}",
            shape=(self.n_shards, len(_RECORD)),
            chunks=(1, len(_RECORD)),
            dtype=np.int64,
            fill_value=0,
            compressors=checksummed(),
            dimension_names=("shard", "record"),
            attributes={"record": list(_RECORD)},
            overwrite=True,
        )
        if identity.hidden:
            self._data_array("hidden", template, identity.width, "width")
        self._data_array("logits", template, len(columns), f"{name}_token")

    def column_ids(self, name: str) -> NDArray[np.int64]:
        """Token ids whose logits are kept for a template."""
        return self._table(f"columns/{name}/id")

    # --- shards -----------------------------------------------------------------------------------

    def write_shard(
        self,
        name: str,
        shard: int,
        logits: NDArray[np.float32],
        hidden: NDArray[np.float32] | None,
    ) -> int:
        """Write a shard's rows whole and then its record; return the bytes written.

        Raises:
            LincorrError: a value is no finite number, as stored.
        """
        rows = self.shard_slice(shard)
        record = [rows.stop - rows.start, 0, 0]
        written = 0
        for position, (kind, data) in enumerate((("logits", logits), ("hidden", hidden)), start=1):
            if data is not None:
                array = self._array(f"{kind}/{name}")
                with np.errstate(over="ignore"):  # told below, in our words
                    stored = np.ascontiguousarray(data.astype(array.dtype))
                if not np.isfinite(stored).all():
                    raise LincorrError(
                        f"store.precision: {kind} of template {name!r}, shard {shard}, are not all finite in "
                        f"{array.dtype}; use float32, or a model.dtype in which the model does not overflow"
                    )
                array[rows] = stored
                record[position] = zlib.crc32(stored.data)
                written += stored.nbytes
        self._array(f"done/{name}")[shard] = np.array(record)
        return written

    def damage(self, name: str, shard: int) -> str | None:
        """Say what is wrong with a shard: "not extracted", "incomplete", "damaged", or None."""
        record = self._record(name, shard)
        rows = self.shard_slice(shard)
        if record[0] == 0:
            return "not extracted"
        try:
            for kind in self._kinds():
                self._verified(kind, name, shard, record)
        except StoreDamaged:
            return "damaged"
        return None if record[0] == rows.stop - rows.start else "incomplete"

    def whole_rows(self, name: str, shard: int) -> int:
        """Count the rows of a shard, from its beginning, that are written and right."""
        if self.damage(name, shard) in ("not extracted", "damaged"):
            return 0
        return int(self._record(name, shard)[0])

    def read_shard(self, kind: Kind, name: str, shard: int) -> NDArray[np.floating]:
        """Return the written rows of a shard, checked against their checksum.

        Raises:
            StoreDamaged: they are missing or not what was written.
        """
        return self._verified(kind, name, shard, self._record(name, shard))

    def content_digest(self, name: str, rows: NDArray[np.int64]) -> str:
        """Return a digest of the checksums of all shards that hold `rows`."""
        records = np.array(list(self._records(name, rows).values()))
        return f"{zlib.crc32(records.tobytes()):08x}"

    def require_written(self, name: str, rows: NDArray[np.int64]) -> None:
        """Check that the shards that hold `rows` are done, by their records; what they hold is not read.

        Raises:
            StoreDamaged: one is missing or was never finished.
        """
        for shard, record in self._records(name, rows).items():
            written = int(record[0])
            last = int(rows[rows // self.identity.shard_rows == shard].max())
            if written <= last - self.shard_slice(shard).start:
                how = "is not extracted" if written == 0 else "is damaged" if written < 0 else "is incomplete"
                raise StoreDamaged(
                    f"store: shard {shard} of template {name!r} in {self.url!r} {how}; run `lincorr extract`"
                )

    def require_whole(self, name: str, rows: NDArray[np.int64]) -> None:
        """Check the shards that hold `rows` against their checksums.

        Raises:
            StoreDamaged: one is missing or damaged.
        """
        for shard, record in self._records(name, rows).items():
            for kind in self._kinds():
                self._verified(kind, name, shard, record)

    # --- reading ----------------------------------------------------------------------------------

    def hidden(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return hidden states (rows, width) of a template, in stored precision.

        Raises:
            StoreDamaged: a row is missing or damaged.
        """
        return self._rows("hidden", name, rows)

    def logits(self, name: str, ids: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return logits (rows, ids) of a template.

        Columns that are kept are read; others are made from the hidden states, float32.

        Raises:
            StoreDamaged: a row is missing or damaged.
            BadInput: a column is not kept and there are no hidden states.
        """
        kept = self.column_ids(name)
        if np.array_equal(kept, ids):
            return self._rows("logits", name, rows)
        order = np.argsort(kept, kind="stable")
        position = order[np.searchsorted(kept, ids, sorter=order).clip(max=len(kept) - 1)]
        if np.array_equal(kept[position], ids):
            return self._rows("logits", name, rows)[:, position]
        if not self.identity.hidden:
            raise BadInput(
                f"store: {self.url!r} keeps neither these logits of template {name!r} nor hidden "
                "states; extract into another store with store.hidden"
            )
        head = self.readout().columns(ids)
        logits: NDArray[np.floating] = head.logits(self._rows("hidden", name, rows).astype(np.float32))
        return logits

    def dataset(self, name: str) -> xarray.Dataset:
        """Open a template as an xarray dataset, lazily: logits and hidden states with their labels."""
        parts = {
            kind: xarray.open_zarr(open_place(self.url), group=kind, chunks=None, consolidated=False)[name]
            for kind in self._kinds()
        }
        subjects = self.subjects()
        data = xarray.Dataset(
            {kind: part.isel(subject=slice(0, len(subjects))) for kind, part in parts.items()}
        )
        return data.assign_coords(
            {
                "subject": ("subject", list(subjects.texts)),
                "subject_id": ("subject", subjects.ids),
                f"{name}_token": [str(text) for text in self._table(f"columns/{name}/text")],
                "token_id": (f"{name}_token", self.column_ids(name)),
            }
        )

    # --- head -------------------------------------------------------------------------------------

    def has_head(self) -> bool:
        """Whether the output head was kept, whole."""
        return "head" in self._group and bool(self._group["head"].attrs.get("complete"))

    def write_head(self, readout: Readout) -> None:
        """Keep the output head: weight (V, d) and bias (V,) in float32, scale as attribute."""
        self._head = None
        self._arrays.clear()
        group = self._group.require_group("head")
        for name, value in (("weight", readout.weight), ("bias", readout.bias)):
            if value is not None:
                array = group.create_array(
                    name,
                    shape=value.shape,
                    chunks=(
                        panel(value.shape[0], int(np.prod(value.shape[1:])) * 4),
                        *value.shape[1:],
                    ),
                    dtype=np.float32,
                    fill_value=float("nan"),
                    compressors=checksummed(),
                    dimension_names=("token", "width")[: value.ndim],
                    overwrite=True,
                )
                array[...] = value
        group.attrs.update({"scale": readout.scale, "softcap": readout.softcap, "complete": True})

    @property
    def maps(self) -> MapStore:
        """The maps and scores that are kept beside the logits.

        Made when asked for: kept, it and this store would hold each other, and an output head with them,
        until some later round of garbage collection.
        """
        return MapStore(self.url, self._group, self.readout)

    def readout(self) -> Readout:
        """Return the output head as it was kept, read-only; it is read once for an opened store.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def _read_head(self) -> Readout:
        if not self.has_head():
            raise StoreDamaged(f"store: {self.url!r} keeps no output head; run `lincorr extract` again")
        group = cast(zarr.Group, self._group["head"])
        try:
            bias = np.asarray(self._array("head/bias")[...]) if "bias" in group else None
            weight = np.asarray(self._array("head/weight")[...])
            if np.isnan(weight).any() or (bias is not None and np.isnan(bias).any()):
                raise ValueError("a chunk is missing")
        except (ValueError, OSError) as problem:
            raise StoreDamaged(
                f"store: the output head in {self.url!r} is damaged ({problem}); delete its folder "
                "`head` and run `lincorr extract` again"
            ) from problem
        for array in (weight, bias):
            if array is not None:
                array.flags.writeable = False
        scale, softcap = group.attrs["scale"], group.attrs["softcap"]
        return Readout(weight, bias, cast(float, scale), cast("float | None", softcap))

    # --- verification -----------------------------------------------------------------------------

    def verify(self) -> list[str]:
        """Read every shard and return one line for each that is not whole and right."""
        faults = []
        tables: list[tuple[str, int | None]]
        tables = [(f"subjects/{part}", self.n_subjects) for part in ("id", "text", "class")]
        tables += [(f"columns/{t.name}/{part}", None) for t in self.templates() for part in ("id", "text")]
        for key, rows in tables:
            try:
                self._table(key, slice(rows))
            except StoreDamaged as problem:
                faults.append(str(problem))
        for template in self.templates():
            for shard in range(self.n_shards):
                fault = self.damage(template.name, shard)
                if fault:
                    faults.append(f"template {template.name!r}, shard {shard}: {fault}")
        if self.identity.hidden and self.templates():
            try:
                self._read_head()
            except StoreDamaged as problem:
                faults.append(f"head: {problem}")
        return faults

    # --- inside -----------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._group.attrs["lincorr"])

    def _update_state(self, **changes: Any) -> None:
        self._group.attrs["lincorr"] = self._state() | changes

    def _array(self, key: str) -> Any:
        if key not in self._arrays:  # opening one takes longer than reading a chunk of it
            self._arrays[key] = self._group[key]
        return self._arrays[key]

    def _kinds(self) -> tuple[Kind, ...]:
        return ("logits", "hidden") if self.identity.hidden else ("logits",)

    def _record(self, name: str, shard: int) -> NDArray[np.int64]:
        """A shard's done-record; -1 rows where it cannot be read."""
        try:
            return np.asarray(self._array(f"done/{name}")[shard])
        except (ValueError, OSError, RuntimeError):
            return np.array([-1, 0, 0])

    def _records(self, name: str, rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """The done-records of the shards that hold `rows`, in order."""
        shards = np.unique(rows // self.identity.shard_rows).tolist()
        if not shards:
            return {}
        try:  # together: each chunk alone takes twice as long
            together = np.asarray(self._array(f"done/{name}")[shards[0] : shards[-1] + 1])
        except (ValueError, OSError, RuntimeError):
            return {shard: self._record(name, shard) for shard in shards}
        return {shard: together[shard - shards[0]] for shard in shards}

    def _table(self, key: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Some consecutive rows of a table, or all of it.

        Raises:
            StoreDamaged: it is not what was written.
        """
        try:
            table = np.asarray(self._array(key)[rows])
            missing = bool(np.any(table == (MISSING_ID if table.dtype.kind == "i" else MISSING_TEXT)))
        except (ValueError, OSError, RuntimeError, KeyError):
            missing = True
        if missing:
            raise StoreDamaged(
                f"store: the table {key!r} in {self.url!r} is damaged; restore its folder from a copy, or "
                "extract into another store"
            )
        return table

    def _append(self, key: str, values: NDArray[Any], start: int) -> None:
        array = self._array(key)
        array.resize((start + len(values),))
        array[start:] = values

    def _data_array(self, kind: Kind, template: Template, width: int, dimension: str) -> None:
        identity = self.identity
        row_bytes = identity.shard_rows * np.dtype(identity.precision).itemsize
        self._group.create_array(
            f"{kind}/{template.name}",
            shape=(self.n_subjects, width),
            chunks=(identity.shard_rows, panel(width, row_bytes)),
            dtype=identity.precision,
            fill_value=float("nan"),
            compressors=checksummed(),
            dimension_names=("subject", dimension),
            attributes={"text": template.text},
            overwrite=True,
        )

    def _fit_arrays(self) -> None:
        """Give every template's arrays a row for every subject (a killed run may have left some short)."""
        for template in self.templates():
            for key, rows in [
                *((f"{kind}/{template.name}", self.n_subjects) for kind in self._kinds()),
                (f"done/{template.name}", self.n_shards),
            ]:
                array = self._array(key)
                if array.shape[0] < rows:
                    array.resize((rows, *array.shape[1:]))

    def _verified(self, kind: Kind, name: str, shard: int, record: NDArray[np.int64]) -> NDArray[np.floating]:
        where = f"store: shard {shard} of template {name!r} in {self.url!r}"
        if record[0] == 0:
            raise StoreDamaged(f"{where} is not extracted; run `lincorr extract`")
        start = self.shard_slice(shard).start
        try:
            data: NDArray[np.floating] = np.ascontiguousarray(
                self._array(f"{kind}/{name}")[start : start + int(record[0])]
            )
            right = record[0] > 0 and zlib.crc32(data.data) == record[_RECORD.index(f"{kind}_crc32")]
        except (ValueError, OSError, RuntimeError):
            right = False
        if not right:
            raise StoreDamaged(
                f"{where} is damaged: its {kind} are not what was written; run `lincorr extract` "
                "again to repair it"
            )
        return data

    def _rows(self, kind: Kind, name: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        array = self._array(f"{kind}/{name}")
        shards, records = rows // self.identity.shard_rows, self._records(name, rows)
        result = None
        for shard, record in records.items():
            block = self._verified(kind, name, shard, record)
            mine = np.flatnonzero(shards == shard)
            inside = rows[mine] - shard * self.identity.shard_rows
            if inside.max() >= len(block):
                raise StoreDamaged(
                    f"store: shard {shard} of template {name!r} in {self.url!r} has "
                    f"{len(block)} of its rows; run `lincorr extract`"
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
