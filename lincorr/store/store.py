"""The logit store: one Zarr v3 hierarchy for all forward passes of a model.

    run.zarr/                 attributes: format, identity (model, precision), number of subjects
      subjects/               id, text, class
      columns/<template>/     id, text of the tokens whose logits are stored
      logits/<template>       (subject, <template>_token)
      hidden/<template>       (subject, width), the state that enters the output head
      head/                   weight (token, width), bias
      done/<template>         (shard, record): rows written, and checksums of them
      maps/<relation>/<fit>/  weights, intercept, ids, diagnosis
      scores/<relation>       what evaluate found, as attributes
      asked/<relation>/       what the model says when it is asked outright

A store is extended, never rewritten. A shard of consecutive subjects is the unit of work and of commit:
one task writes its chunks, each whole and atomically, and then its done-record; chunks without a record
are not data. Row i of every array is subject i.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, StoreDamaged
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import Subjects
from lincorr.prompts.trees import PromptTemplate
from lincorr.readout import Readout
from lincorr.relations.relation import Template
from lincorr.scores.audit import NOT_AUDITED, Audit
from lincorr.store.asked import AskedStore
from lincorr.store.chunks import create_table
from lincorr.store.descriptions import Descriptions
from lincorr.store.head import Head
from lincorr.store.hierarchy import Hierarchy, opened_group
from lincorr.store.identity import Identity, require_same
from lincorr.store.maps import MapStore
from lincorr.store.place import make_groups, require_place
from lincorr.store.seal import seal
from lincorr.store.shards import Shards
from lincorr.store.shown import Shown
from lincorr.store.templates import stored_templates, stored_text
from lincorr.store.verify import faults_of_data

if TYPE_CHECKING:
    import xarray

FORMAT = 2


class LogitStore(Shown):
    """An opened store. Use `create` or `open`.

    Shards that others write meanwhile are seen at once, subjects and templates only after opening it again.

    Attributes:
        url: a folder or URL, as it was given.
        shards: what was extracted, shard by shard.
        head: the output head.
        maps: fitted maps and their scores.
        asked: what the model says when it is asked outright.
    """

    def __init__(self, url: str, group: zarr.Group) -> None:
        self.url = url
        self._hierarchy = Hierarchy(url, group)
        self.shards = Shards(self._hierarchy)
        self.head = Head(self._hierarchy)
        self.maps = MapStore(self._hierarchy, self.head.readout)
        self.asked = AskedStore(self._hierarchy)
        self._column_ids: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def exists(cls, url: str) -> bool:
        """Whether there is a lincorr store at `url`.

        Raises:
            BadInput: the location cannot be opened, or there is no such bucket.
            LincorrError: the server of an object store does not answer, or denies access.
        """
        return opened_group(url, "r") is not None

    @classmethod
    def open(cls, url: str, *, write: bool = False) -> "LogitStore":
        """Open an existing store.

        Raises:
            BadInput: there is none, or it has another format.
            StoreDamaged: its identity is not what was written.
        """
        group = opened_group(url, "r+" if write else "r")
        if group is None:
            raise BadInput(f"store: there is no lincorr store at {url!r}; run `lincorr extract` first")
        state = group.attrs["lincorr"]
        found = state.get("format") if isinstance(state, Mapping) else None
        if found != FORMAT:
            raise BadInput(f"store: {url!r} has format {found}, this version reads {FORMAT}")
        store = cls(url, group)
        _ = store.identity, store.n_subjects  # refused here, before anything depends on them
        return store

    @classmethod
    def create(cls, url: str, identity: Identity) -> "LogitStore":
        """Make an empty store; one that a killed run has begun to make is completed.

        Raises:
            BadInput: it lies inside a store, something else is at `url`, or it cannot be written.
        """
        require_place(url)
        made = asdict(identity)
        try:
            group = make_groups(url)
            group.attrs["lincorr"] = {"format": FORMAT, "identity": made, "seal": seal(made), "n_subjects": 0}
        except OSError as problem:
            raise BadInput(f"store: {url!r} cannot be written ({problem})") from problem
        return cls(url, group)

    # --- attributes -------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """What the store was made with."""
        return self._hierarchy.identity

    def require(self, wanted: Identity) -> None:
        """Refuse another model, tokenizer, precision or batch size than the store's.

        Raises:
            BadInput: a field differs; the message names its setting.
        """
        require_same(self.identity, wanted, self.url)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the last run that extracted into this store; empty if none did."""
        found = self._hierarchy.state().get("settings")
        return dict(found) if isinstance(found, Mapping) else {}

    def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Store a run's settings: JSON values."""
        self._hierarchy.update_state(settings=dict(settings))

    @property
    def device(self) -> str | None:
        """The device of the worker that checked the model, such as "cpu" or "cuda:0"; None if unknown."""
        device: str | None = self._hierarchy.state().get("device")
        return device

    def save_device(self, device: str) -> None:
        """Store where the model was when the store was made."""
        self._hierarchy.update_state(device=device)

    @property
    def cut_batches(self) -> int:
        """Batches that were cut in two for want of memory; the last bits of their rows may differ."""
        return int(self._hierarchy.state().get("cut_batches", 0))

    def count_cut_batches(self, count: int) -> None:
        """Add to the number of batches that were cut in two."""
        self._hierarchy.update_state(cut_batches=self.cut_batches + count)

    # --- subjects ---------------------------------------------------------------------------------

    @property
    def n_subjects(self) -> int:
        """Number of subjects in the store."""
        return self._hierarchy.n_subjects

    def subjects(self, rows: slice | NDArray[np.int64] | None = None) -> Subjects:
        """Return the subjects of `rows`, or all of them; a slice is meant as NumPy means it.

        Raises:
            StoreDamaged: their table is damaged.
        """
        wanted = np.arange(self.n_subjects)[slice(None) if rows is None else rows]
        # those of a shard are read without the rest: a task must not cost what all subjects cost
        first, stop = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (0, 0)
        ids, texts, classes = (
            self._hierarchy.table(f"subjects/{name}", slice(first, stop))[wanted - first]
            for name in ("id", "text", "class")
        )
        return Subjects(ids.astype(np.int64), tuple(map(str, texts)), tuple(map(str, classes)), {})

    def rows_of(self, subjects: Subjects) -> NDArray[np.int64]:
        """Return the row (n,) of each subject, -1 for those that are not in the store."""
        known = {key: row for row, key in enumerate(self.subjects().identifiers())}
        return np.array([known.get(key, -1) for key in subjects.identifiers()], dtype=np.int64)

    def add_subjects(self, subjects: Subjects) -> NDArray[np.int64]:
        """Append the subjects that are not in the store yet; return the row (n,) of every one.

        A zarr.json of the store's templates or groups that is lost is written anew before.

        Raises:
            StoreDamaged: something that is needed for that is damaged, too.
        """
        templates = self.templates()
        Descriptions(self._hierarchy).restore_all(templates)
        known = {key: row for row, key in enumerate(self.subjects().identifiers())}
        start = len(known)
        new: list[int] = []
        for position, key in enumerate(subjects.identifiers()):
            if key not in known:
                known[key] = start + len(new)
                new.append(position)
        if new:
            self.shards.require_free(start, templates)
            append = self._hierarchy.append
            append("subjects/id", subjects.ids[new], start)
            append("subjects/text", np.array([subjects.texts[i] for i in new], object), start)
            append("subjects/class", np.array([subjects.classes[i] for i in new], object), start)
            self._hierarchy.update_state(n_subjects=start + len(new))  # the commit
        self.shards.extend(templates)
        return np.array([known[key] for key in subjects.identifiers()], dtype=np.int64)

    # --- templates and columns --------------------------------------------------------------------

    def templates(self) -> list[Template]:
        """Return the templates that have arrays in the store.

        Raises:
            StoreDamaged: nothing that remembers the text of one can be read.
        """
        return stored_templates(self._hierarchy)

    def check_template(self, template: Template, ids: NDArray[np.int64]) -> None:
        """Refuse a template that cannot be added or extended; change nothing.

        Args:
            ids: (q,) token ids of its answers.

        Raises:
            BadInput: the store has another text under this name, or has neither the logits of some columns
                nor hidden states to compute them from.
        """
        known = stored_text(self._hierarchy, template.name)
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
                f"store: {self.url!r} has no logits of {len(absent)} of the answers to template "
                f"{template.name!r} and no hidden states; name another store, or set store.hidden"
            )

    def check_prompt(self, name: str, prompt: PromptTemplate) -> None:
        """Refuse a template of the store whose text is now read into other tokens than those it was asked in.

        Older stores do not remember them, and nothing is compared.

        Raises:
            BadInput: they are others.
        """
        asked = (self._hierarchy.attributes(f"columns/{name}") or {}).get("prompt")
        if asked is not None and asked != [list(prompt.before), list(prompt.after)]:
            raise BadInput(
                f"template {name!r}: its text makes other tokens than those that it was asked in for the "
                f"store {self.url!r}; use that tokenizer and version of transformers, or name another store"
            )

    def add_template(
        self,
        template: Template,
        columns: Columns,
        together: Sequence[str] = (),
        prompt: PromptTemplate | None = None,
    ) -> None:
        """Make the arrays of a template, unless they exist.

        Args:
            together: names of the templates that the same run adds (see `templates_added_with`).
            prompt: the tokens that it is asked in (see `check_prompt`).

        Raises:
            BadInput: it cannot be added (see `check_template`).
        """
        self.check_template(template, columns.ids)
        name = template.name
        if stored_text(self._hierarchy, name) is not None:
            return
        self._hierarchy.close_arrays()
        self._column_ids.pop(name, None)
        table = self._hierarchy.group.create_group(f"columns/{name}", overwrite=True)
        table.attrs["together"] = list(together)
        if prompt is not None:
            table.attrs["prompt"] = [list(prompt.before), list(prompt.after)]
        for part, values in (("id", columns.ids), ("text", np.array(columns.texts, object))):
            kind = np.int64 if part == "id" else str
            create_table(table, part, kind, f"{name}_token")
            self._hierarchy.append(f"columns/{name}/{part}", values, 0)
        Descriptions(self._hierarchy).create(template, len(columns))
        table.attrs["text"] = template.text

    def templates_added_with(self, name: str) -> tuple[str, ...]:
        """Return the templates that were added by the same run as `name`, itself among them.

        Their prompts share forward passes, whose last bits depend on all of them: whoever repairs one of them
        asks them all again. Stores made before 0.2.0 do not remember: none is returned.
        """
        added = (self._hierarchy.attributes(f"columns/{name}") or {}).get("together")
        return tuple(map(str, added)) if isinstance(added, list) and name in added else ()

    def column_ids(self, name: str) -> NDArray[np.int64]:
        """Return the ids (q,) of the tokens whose logits are stored for a template; read once.

        Raises:
            StoreDamaged: their table is damaged.
            BadInput: there is no such template.
        """
        try:
            if name not in self._column_ids:
                self._column_ids[name] = self._hierarchy.table(f"columns/{name}/id")
            return self._column_ids[name].copy()
        except StoreDamaged:
            known = [template.name for template in self.templates()]
            if name in known:
                raise
            raise BadInput(f"store: {self.url!r} has no template {name!r}; it has {known}") from None

    # --- logits and hidden states -----------------------------------------------------------------

    def hidden(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return hidden states (rows, width) of a template, in stored precision.

        Raises:
            StoreDamaged: a row is missing or damaged.
            BadInput: hidden states are not stored.
        """
        if not self.identity.hidden:
            raise BadInput(f"store: {self.url!r} has no hidden states; extract another with store.hidden")
        return self.shards.read_rows("hidden", name, rows)

    def logits(self, name: str, ids: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return logits (rows, ids) of a template.

        Stored columns are read, in stored precision; others are computed from hidden states, in float32.

        Raises:
            StoreDamaged: a row is missing or damaged.
            BadInput: a column is not stored, nor are hidden states, or there is no such token.
        """
        stored = self.column_ids(name)
        if np.array_equal(stored, ids):
            return self.shards.read_rows("logits", name, rows)
        position = {token: column for column, token in enumerate(stored.tolist())}
        if position.keys() >= set(ids.tolist()):
            columns = np.array([position[token] for token in ids.tolist()], dtype=np.int64)
            return self.shards.read_rows("logits", name, rows)[:, columns]
        if odd := [token for token in ids.tolist() if not 0 <= token < self.identity.vocabulary_size]:
            raise BadInput(f"store: the model in {self.url!r} has no token {odd[0]}; name other ids")
        if not self.identity.hidden:
            raise BadInput(
                f"store: {self.url!r} has neither these logits of template {name!r} nor hidden "
                "states; extract into another store with store.hidden"
            )
        head = self.readout().columns(ids)
        logits: NDArray[np.floating] = head.logits(self.hidden(name, rows).astype(np.float32, copy=False))
        return logits

    def readout(self) -> Readout:
        """Return the stored output head, float32 and read-only.

        Raises:
            StoreDamaged: it is missing or damaged.
        """
        return self.head.readout()

    def dataset(self, name: str) -> "xarray.Dataset":
        """Open a template as a lazy xarray dataset: logits and hidden states with their labels.

        `complete` (subject) says which rows are extracted; the others are NaN. A row is checked when it is
        read: one that is damaged raises StoreDamaged, and is never NaN.
        """
        from lincorr.store.dataset import template_dataset  # xarray brings pandas

        return template_dataset(self._hierarchy, self.shards, name, self.subjects(), self.column_ids(name))

    def audit(self) -> Audit:
        """Return what asking a sample of all stored prompts again has shown."""
        return sum((self.shards.audit(template.name) for template in self.templates()), NOT_AUDITED)

    # --- verification -----------------------------------------------------------------------------

    def verify(self) -> list[str]:
        """Read everything but scratch; return one line for each part that is missing or damaged."""
        faults = faults_of_data(self._hierarchy, self.shards, self.head)
        return [*faults, *self.maps.verify(), *self.asked.verify()]
