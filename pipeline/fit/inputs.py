"""The inputs of one relation's fits, and their digest."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.solvers.choose import Choice
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.plan.costs import FitSizes
from pipeline.plan.fits import Basis as Basis
from pipeline.plan.fits import prepared_fits
from pipeline.prepare.prepare import Inputs
from pipeline.prepare.relations import RelationInputs

Split: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions of subjects: fitted, held out
FIT_NAMES = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")
# Raised when a solver's answer changes: stored maps are then fitted again. 2: those in memory have `loo_r`.
_SOLVERS = {"direct": 2, "factored": 2}


def basis_of(fit: str) -> Basis:
    """Return the basis of a fit of this name."""
    return "vocabulary" if fit.startswith("vocabulary") else "domain"


@dataclass(frozen=True, slots=True)
class FitInputs:
    """The inputs of one relation's fits.

    Attributes:
        relation: in the model's tokens.
        fit_rows, test_rows: rows of the store.
        choices: basis -> method and reason.
        n_tokens: V.
        rcond: overrides the rank rule.
        root_penalty: √λ/σ₁ of the ridge fits; None has it chosen by leave-one-out.
        memory_bytes: what a task may hold.
        device: where tasks compute: "cpu", "cuda", or "auto".
        sizes: basis -> what the cost of its fits is estimated from.
    """

    relation: RelationInputs
    fit_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    choices: dict[Basis, Choice]
    n_tokens: int
    rcond: float | None
    root_penalty: float | None = None
    memory_bytes: int = 10**9
    device: str = "auto"
    sizes: Mapping[Basis, FitSizes] = field(default_factory=dict)

    def fit_names(self, basis: Basis) -> tuple[str, ...]:
        """Names of the fits of a basis; the tiled solver has ridge only."""
        ridge = f"{basis}-ridge"
        return (ridge,) if self.choices[basis].method == "tiled" else (basis, ridge)

    @property
    def all_fits(self) -> list[str]:
        """Names of the fits of every basis, in the order of `FIT_NAMES`."""
        names = {name for basis in self.choices for name in self.fit_names(basis)}
        return [name for name in FIT_NAMES if name in names]

    @property
    def read_fits(self) -> list[str]:
        """Names of the fits whose W is read: the paper's, where there is one, and the one that reads best."""
        names = self.all_fits
        reading = "vocabulary-ridge" if "vocabulary-ridge" in names else "domain-ridge"
        return [name for name in ("domain", reading) if name in names]

    @property
    def source_template(self) -> str:
        """Name of the source's template."""
        return self.relation.relation.source.template.name

    @property
    def target_template(self) -> str:
        """Name of the target's template."""
        return self.relation.relation.target.template.name

    def source_ids(self, basis: Basis) -> NDArray[np.int64]:
        """Token ids (p,) of the source columns of a basis."""
        return self.relation.source.ids if basis == "domain" else np.arange(self.n_tokens)


def fit_inputs(
    store: LogitStore,
    config: RunConfig,
    inputs: Inputs,
    split: Split,
    relations: Sequence[RelationInputs],
    memory_bytes: int,
) -> Iterator[FitInputs]:
    """Yield the inputs of each relation's fits; relations that share a source prompt follow each other.

    Args:
        relations: of the configuration's templates.
        memory_bytes: what a task may hold, on which the choice of solvers depends.

    Raises:
        LincorrError: a subject or template is not in the store.
    """
    rows = store.rows_of(inputs.subjects)
    _require_extracted(store, inputs, rows)
    fit, test = split
    settings, identity = config.fit, store.identity
    inputs = replace(inputs, relations=tuple(relations))
    linear, hidden = identity.linear, identity.hidden
    fits = prepared_fits(config, inputs, memory_bytes, len(fit), hidden=hidden, linear=linear)
    fit_rows, test_rows = rows[fit], rows[test]  # one array for all, which tasks then carry once
    for relation in _by_source(inputs.relations):
        yield FitInputs(
            relation=relation,
            fit_rows=fit_rows,
            test_rows=test_rows,
            choices={basis: choice for (name, basis), (_, choice) in fits.items() if name == relation.name},
            n_tokens=identity.vocabulary_size,
            rcond=settings.rcond,
            root_penalty=settings.penalty,
            memory_bytes=memory_bytes,
            device=settings.device,
            sizes={basis: sizes for (name, basis), (sizes, _) in fits.items() if name == relation.name},
        )


def _require_extracted(store: LogitStore, inputs: Inputs, rows: NDArray[np.int64]) -> None:
    missing = set(inputs.templates) - {t.name for t in store.templates()}
    if (rows < 0).any() or missing:
        raise LincorrError(
            f"store: {store.url!r} is missing {int((rows < 0).sum()):,} of the subjects and "
            f"{len(missing)} of the templates; run `lincorr extract` first, or name the settings that "
            "it was made with"
        )


def _by_source(relations: Sequence[RelationInputs]) -> list[RelationInputs]:
    """Order relations by the first appearance of their source prompt."""
    sources = [relation.relation.source.template.name for relation in relations]
    place = {name: i for i, name in enumerate(dict.fromkeys(sources))}
    return sorted(relations, key=lambda relation: place[relation.relation.source.template.name])


def input_digest(store: LogitStore, inputs: FitInputs, basis: Basis) -> str:
    """Return a digest of all that the fits of one basis depend on."""
    contents = [
        store.shards.digest(name, inputs.fit_rows)
        for name in (inputs.source_template, inputs.target_template)
    ]
    method = inputs.choices[basis].method
    digest_inputs = [_SOLVERS.get(method, 1), method, inputs.rcond, inputs.root_penalty, contents]
    whole = hashlib.sha256(json.dumps(digest_inputs).encode())
    for array in (inputs.source_ids(basis), inputs.relation.target.ids, inputs.fit_rows):
        whole.update(array.astype(np.int64).tobytes())
    return whole.hexdigest()


def has_maps(store: LogitStore, inputs: FitInputs, fits: Sequence[str]) -> bool:
    """Whether the store has these fits of a relation, made from these inputs; arrays are not looked at."""
    return all(
        store.maps.inputs(inputs.relation.name, fit) == input_digest(store, inputs, basis_of(fit))
        for fit in fits
    )
