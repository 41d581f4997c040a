"""Join two stores of one identity: what one has and the other lacks is added to the first.

Everything is compared before anything is written. Then subjects and templates are registered as a run does
it, and shards are written one by one, each with its record last: a merge that is killed leaves a store that
is right, and the same merge goes on with the shards that are missing. The second store is only read.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.errors import BadInput, StoreDamaged
from lincorr.prompts.columns import Columns
from lincorr.prompts.trees import PromptTemplate
from lincorr.relations.relation import Template
from lincorr.scores.audit import NOT_AUDITED, audit_bound
from lincorr.store.hierarchy import Hierarchy
from lincorr.store.identity import Kind, require_same
from lincorr.store.locations import open_location
from lincorr.store.store import LogitStore

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has added.

    Attributes:
        subjects: how many.
        templates: names.
        shards: written, of all templates.
        missing: rows of all templates that are still not extracted: those of shards that neither store
            has whole, nor both together.
    """

    subjects: int
    templates: tuple[str, ...]
    shards: int
    missing: int


def merge(into: LogitStore, other: LogitStore) -> Merged:
    """Add to `into`, opened for writing, the subjects, templates and shards of `other` that it lacks.

    A damaged shard is replaced by the other store's. Output head and answers to direct questions are added
    where there are none; maps and scores are not, since they depend on all subjects.

    Raises:
        BadInput: the stores differ in identity, in a template's text, tokens or columns, or, by more than
            rounding explains, in a row that both have; nothing was changed.
        StoreDamaged: a table of one of them is damaged.
    """
    _require_one_identity(into, other)
    subjects, n_subjects = other.subjects(), into.n_subjects
    known = {template.name for template in into.templates()}
    parts = [_Part(into, other, template) for template in other.templates()]
    places = into.rows_of(subjects)
    for part in parts:
        if part.name in known:
            part.require_columns()
            part.require_agreement(places)
    # at least so many: which of the other's batches are in a shard that is taken is not known
    if other.cut_batches > into.cut_batches:
        into.count_cut_batches(other.cut_batches - into.cut_batches)
    places = into.add_subjects(subjects)
    for part in parts:
        into.add_template(part.template, part.columns, part.together, part.prompt)
    written = [part.add(shard, places) for part in parts for shard in range(into.shards.count)]
    _add_head(into, other)
    _add_answers(into, other)
    return Merged(
        subjects=into.n_subjects - n_subjects,
        templates=tuple(part.name for part in parts if part.name not in known),
        shards=sum(written),
        missing=sum(int((into.shards.written(t.name) <= 0).sum()) for t in into.templates()),
    )


def _require_one_identity(into: LogitStore, other: LogitStore) -> None:
    mine, theirs = into.identity, other.identity
    if not (mine.tokens and theirs.tokens):  # older stores do not remember it
        mine, theirs = replace(mine, tokens=""), replace(theirs, tokens="")
    try:
        require_same(mine, theirs, into.url)
    except BadInput as problem:
        raise BadInput(f"store merge: {other.url!r} cannot be added: {problem}") from problem


class _Part:
    """A template of the other store, and what of it can be added.

    Attributes:
        template, columns, together, prompt: what `LogitStore.add_template` is told.
    """

    def __init__(self, into: LogitStore, other: LogitStore, template: Template) -> None:
        self.template, self.name = template, template.name
        self._into, self._other = into, other
        tables = Hierarchy(other.url, zarr.open_group(open_location(other.url), mode="r", zarr_format=3))
        texts = tuple(map(str, tables.table(f"columns/{self.name}/text")))
        self.columns = Columns(other.column_ids(self.name), texts, texts, (True,) * len(texts), {})
        self.together = other.templates_added_with(self.name)
        asked = (tables.attributes(f"columns/{self.name}") or {}).get("prompt")
        self.prompt = asked and PromptTemplate(tuple(asked[0]), tuple(asked[1]), template.text)
        self._kept: dict[int, int] = {}  # rows of the first store's shards that are whole
        self._whole = np.zeros(other.n_subjects, dtype=bool)
        for shard in range(other.shards.count):
            start = other.shards.rows(shard).start
            self._whole[start : start + other.shards.whole_rows(self.name, shard)] = True

    # --- compare ----------------------------------------------------------------------------------

    def require_columns(self) -> None:
        """Refuse another text, other tokens or other columns than the first store's, with BadInput."""
        self._into.check_template(self.template, self.columns.ids)
        if self.prompt is not None:
            self._into.check_prompt(self.name, self.prompt)
        if set(self.columns.ids.tolist()) != set(self._into.column_ids(self.name).tolist()):
            raise BadInput(
                f"store merge: template {self.name!r} has logits of other answers in {self._other.url!r} "
                f"than in {self._into.url!r}; extract both with the same relations"
            )

    def require_agreement(self, places: NDArray[np.int64]) -> None:
        """Refuse a row that both stores have, and that differs by more than rounding explains.

        Args:
            places: (n,) row in the first store of each subject of the other; -1 for none.
        """
        identity, shards = self._into.identity, self._into.shards
        bound = max(audit_bound(identity.compute), audit_bound(identity.precision))
        for shard in range(shards.count):
            start = shards.rows(shard).start
            self._kept[shard] = shards.whole_rows(self.name, shard)
            stop = start + self._kept[shard]
            shared = np.flatnonzero(self._whole & (places >= start) & (places < stop))
            for kind in identity.kinds if len(shared) else ():
                mine = shards.read(kind, self.name, shard)[places[shared] - start].astype(np.float64)
                theirs = self._read(kind, shared).astype(np.float64)
                scale = mine.std() or 1.0
                difference = np.abs(mine - theirs).max() / scale
                if not difference <= bound:
                    raise BadInput(
                        f"store merge: shard {shard} of template {self.name!r} is not the same in "
                        f"{self._into.url!r} and {self._other.url!r}: {kind} differ by {difference:.2g} "
                        f"standard deviations ({bound:g} is rounding in {identity.compute}); extract that "
                        "store anew whose machine computes wrongly"
                    )

    # --- add --------------------------------------------------------------------------------------

    def add(self, shard: int, places: NDArray[np.int64]) -> bool:
        """Write a shard of the first store that is not whole, if both stores together have all its rows.

        What was compared before is not read again.
        """
        shards = self._into.shards
        rows, kept = shards.rows(shard), self._kept.get(shard, 0)
        if kept == rows.stop - rows.start:
            return False
        origin = np.full(rows.stop - rows.start, _NOWHERE)
        here = np.flatnonzero(self._whole & (places >= rows.start) & (places < rows.stop))
        origin[places[here] - rows.start] = here
        taken = origin[kept:]
        if np.any(taken == _NOWHERE):
            return False
        blocks = {}
        for kind in self._into.identity.kinds:
            block = self._read(kind, taken)
            mine = [shards.read(kind, self.name, shard)] if kept else []
            blocks[kind] = np.concatenate([*mine, block])
        audit = shards.audit(self.name, shard) if kept else NOT_AUDITED
        size = self._into.identity.shard_rows
        for first in taken[taken % size == 0] // size:  # each audit of the other store counts once
            audit += self._other.shards.audit(self.name, int(first))
        shards.write(self.name, shard, blocks["logits"], blocks.get("hidden"), audit)
        return True

    def _read(self, kind: Kind, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of the other store, with the columns of the first."""
        block = self._other.shards.read_rows(kind, self.name, rows).astype(np.float32)
        return block if kind == "hidden" else block[:, self._order]

    @cached_property
    def _order(self) -> list[int]:
        """Where the other store has each of the first one's columns."""
        position = {token: i for i, token in enumerate(self.columns.ids.tolist())}
        return [position[token] for token in self._into.column_ids(self.name).tolist()]


def _add_head(into: LogitStore, other: LogitStore) -> None:
    if into.identity.hidden and not into.head.exists() and other.head.exists():
        into.head.write(other.head.read())


def _add_answers(into: LogitStore, other: LogitStore) -> None:
    """Add what the model said when it was asked outright; damaged answers are left out."""
    for name in other.asked.names():
        inputs = other.asked.inputs(name)
        if inputs is not None and into.asked.inputs(name) is None:
            with suppress(StoreDamaged):
                into.asked.save(name, other.asked.load(name), other.asked.asked(name), inputs)
