"""What one relation is fitted from."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.choose import Choice
from lincorr.store.store import LogitStore
from pipeline.prepare.prepare import RelationInputs

Source = Literal["domain", "vocabulary"]


FIT_NAMES = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")


_SOLVERS = 1  # raised when a solver's answer changes: kept maps are then fitted again


@dataclass(frozen=True, slots=True)
class FitInputs:
    """What the fits of one relation are made from.

    Attributes:
        relation: in the model's tokens.
        fit_rows, test_rows: rows of the store.
        choices: source -> method and reason.
        n_tokens: V.
        rcond: overrides the rank rule.
        root_penalty: √λ/σ₁ of the ridge fits; None has it chosen by leave-one-out.
        memory_bytes: what a task may hold.
        device: where the tasks of fits that stream compute: "cpu", "cuda", or "auto".
    """

    relation: RelationInputs
    fit_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    choices: dict[Source, Choice]
    n_tokens: int
    rcond: float | None
    root_penalty: float | None = None
    memory_bytes: int = 10**9
    device: str = "auto"

    def fit_names(self, source: Source) -> tuple[str, ...]:
        """Names of the fits of a source; the tiled solver knows ridge only."""
        ridge = f"{source}-ridge"
        return (ridge,) if self.choices[source].method == "tiled" else (source, ridge)

    @property
    def source_template(self) -> str:
        """Name of the source's template."""
        return self.relation.relation.source.template.name

    @property
    def target_template(self) -> str:
        """Name of the target's template."""
        return self.relation.relation.target.template.name

    def source_ids(self, source: Source) -> NDArray[np.int64]:
        """Token ids of the source columns."""
        return self.relation.source.ids if source == "domain" else np.arange(self.n_tokens)


def input_digest(store: LogitStore, inputs: FitInputs, source: Source) -> str:
    """Hash all that goes into the fits of one source."""
    contents = [
        store.shards.digest(name, inputs.fit_rows)
        for name in (inputs.source_template, inputs.target_template)
    ]
    told = [_SOLVERS, inputs.choices[source].method, inputs.rcond, inputs.root_penalty, contents]
    whole = hashlib.sha256(json.dumps(told).encode())
    for array in (inputs.source_ids(source), inputs.relation.target.ids, inputs.fit_rows):
        whole.update(array.astype(np.int64).tobytes())
    return whole.hexdigest()
