"""What a store shows of itself at a prompt and in a notebook."""

from typing import Protocol

import numpy as np

from lincorr.facts import facts_html
from lincorr.relations.relation import Template
from lincorr.store.identity import Identity
from lincorr.store.maps import MapStore
from lincorr.store.shards import Shards


class _Store(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def shards(self) -> Shards: ...
    @property
    def maps(self) -> MapStore: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def n_subjects(self) -> int: ...
    def templates(self) -> list[Template]: ...


class Shown:
    """The part of a store that describes it."""

    def __repr__(self: _Store) -> str:
        """One line; nothing but the store's attributes is read for it."""
        return f"<LogitStore {self.url!r}: {self.identity.source!r}, {self.n_subjects:,} subjects>"

    def _repr_html_(self: _Store) -> str:
        """A table with model, subjects, the share of each template that is extracted, and maps."""
        identity = self.identity
        facts = [
            ("model", f"{identity.source}, in {identity.compute}"),
            ("subjects", f"{self.n_subjects:,}"),
            ("stored", f"{' and '.join(identity.kinds)}, in {identity.precision}"),
        ]
        for template in self.templates():
            written = self.shards.written(template.name) > 0
            share = f"{100 * np.mean(written):.0f} % extracted" if len(written) else "no subjects"
            facts.append((f"template {template.name}", f"{template.text!r}: {share}"))
        facts += [(f"maps of {name}", ", ".join(self.maps.fits(name))) for name in self.maps.relations()]
        return facts_html(f"LogitStore {self.url}", facts)
