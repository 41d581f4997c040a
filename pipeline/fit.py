"""Fit the maps of a relation from the store: domain and full vocabulary, each without and with ridge."""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import like
from lincorr.errors import LincorrError
from lincorr.metrics import CrossMoments
from lincorr.scratch import Scratch
from lincorr.solvers.choose import Choice, largest_tile
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.lowrank import OVERSAMPLING, PROBES
from lincorr.solvers.reduced import Reduced
from lincorr.solvers.spectrum import Problem, ridge_path, solve
from lincorr.store import LogitStore
from pipeline.decompositions import Decompositions, double
from pipeline.executor import Executor
from pipeline.fit_rows import ROW_BYTES
from pipeline.fit_streams import decompose, load_reduced
from pipeline.fit_tiled import Kept, fit_tiles
from pipeline.panels import begin, scratch_url
from pipeline.prepare import RelationInputs

Source = Literal["domain", "vocabulary"]

FIT_NAMES = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")
_BLOCK_ROWS = 4096
_FEWEST_ROWS = 64  # in a block, however wide they are
_PANEL = 2048  # rows and columns of a tile where memory does not say otherwise
ROOT_PENALTY = 0.003  # √λ/σ₁ of tiled fits: a map of SmolLM2-135M was seen to read best there
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


def fit_relation(
    store: LogitStore,
    inputs: FitInputs,
    executor: Callable[[], Executor],
    shared: Decompositions | None = None,
) -> list[str]:
    """Fit and keep every map of a relation that is not there yet; return the names of the new ones.

    Args:
        executor: opens one, for fits that stream. Small ones are done here, at once: workers would take
            longer to start.
        shared: sources that other relations may ask for, too.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    fitted: list[str] = []
    for source, choice in inputs.choices.items():
        # the tasks of a fit that streams check what they read, each its own part
        require = store.require_written if choice.streamed else store.require_whole
        for template in (inputs.source_template, inputs.target_template):
            require(template, inputs.fit_rows)
        digest = input_digest(store, inputs, source)
        names = inputs.fit_names(source)
        if all(store.maps.inputs(inputs.relation.name, name) == digest for name in names):
            continue
        if choice.method == "tiled":
            _fit_tiled(store, inputs, source, executor())
        else:
            if choice.streamed:
                decompose(executor(), store, _scratch(store, inputs, source), choice.method)
            _fit_paths(store, inputs, source, shared)
        fitted += names
    return fitted


def _fit_paths(store: LogitStore, inputs: FitInputs, source: Source, shared: Decompositions | None) -> None:
    """Keep the minimum-norm map and the ridge one of a source whose decomposition is at hand."""
    problem = set_up(store, inputs, source, shared)
    path = ridge_path(problem)
    asked = inputs.root_penalty
    ridge = path.reading if asked is None else asked
    digest, reason = input_digest(store, inputs, source), inputs.choices[source].reason
    for name, root_penalty, known in zip(
        inputs.fit_names(source), (0.0, ridge), (None, path if asked is None else None), strict=True
    ):
        solution = solve(problem, root_penalty, reason=reason, path=known)
        store.maps.save(inputs.relation.name, name, solution, digest)


def _fit_tiled(store: LogitStore, inputs: FitInputs, source: Source, executor: Executor) -> None:
    [name] = inputs.fit_names(source)
    fit_tiles(
        executor,
        store,
        _scratch(store, inputs, source),
        relation=inputs.relation.name,
        fit=name,
        inputs=input_digest(store, inputs, source),
        reason=inputs.choices[source].reason,
    )


def _scratch(store: LogitStore, inputs: FitInputs, source: Source) -> Scratch:
    """Open the scratch of a source's fit, with all that its tasks have to know."""
    n, p, q = len(inputs.fit_rows), len(inputs.source_ids(source)), len(inputs.relation.target.ids)
    method, identity = inputs.choices[source].method, store.identity
    tile = largest_tile(p, inputs.memory_bytes) if method == "tiled" else _PANEL
    # gram and tiled hold float64 rows beside their sums; the others cut them as they are stored
    row_bytes = {"gram": 64, "tiled": 2 * ROW_BYTES}.get(method, 8) * (p + q)
    fitting = inputs.memory_bytes // row_bytes
    block = max(_FEWEST_ROWS, fitting if method == "tiled" else min(tile, fitting))
    return begin(
        store,
        f"{inputs.relation.name}-{source}",
        input_digest(store, inputs, source),
        templates=(inputs.source_template, inputs.target_template),
        source_ids=inputs.source_ids(source),
        target_ids=inputs.relation.target.ids,
        rows=inputs.fit_rows,
        block=block,
        panel=tile,
        sketch=min(identity.width + OVERSAMPLING, n) + PROBES,
        memory_bytes=inputs.memory_bytes,
        device=inputs.device,
        root_penalty=ROOT_PENALTY if inputs.root_penalty is None else inputs.root_penalty,
        rank_rule={
            "storage_eps": float(np.finfo(identity.precision).eps),
            "rank_limit": identity.width if identity.linear else None,
            "rcond": inputs.rcond,
        },
    )


def set_up(
    store: LogitStore, inputs: FitInputs, source: Source, shared: Decompositions | None = None
) -> Problem:
    """Return a source's problem: its rows read and decomposed, or what a streamed fit has kept.

    Args:
        shared: sources that other relations may ask for, too.

    Raises:
        LincorrError: a streamed fit has kept nothing.
    """
    method = inputs.choices[source].method
    if method == "tiled":
        return Kept(store.maps.load(inputs.relation.name, inputs.fit_names(source)[0]))
    if inputs.choices[source].streamed:
        return load_reduced(_kept_scratch(store, inputs, source), method)
    shared = shared or Decompositions(store)
    decomposed = shared.factored if method == "factored" else shared.direct
    return decomposed(
        inputs.source_template,
        inputs.target_template,
        inputs.source_ids(source),
        inputs.relation.target.ids,
        inputs.fit_rows,
        rcond=inputs.rcond,
    )


def _kept_scratch(store: LogitStore, inputs: FitInputs, source: Source) -> Scratch:
    url = scratch_url(store, f"{inputs.relation.name}-{source}")
    if Scratch.inputs(url) != input_digest(store, inputs, source):
        raise LincorrError(f"fit: the decomposition in {url!r} is gone; run `lincorr fit` again")
    return Scratch.attach(url)


def held_out_moments(store: LogitStore, inputs: FitInputs, source: Source, problem: Problem) -> CrossMoments:
    """Return the moments of the rows to test, of such data as the source's problem is made of.

    Args:
        problem: of the source, with any targets: a streamed one knows its coordinates, another its device.
    """
    rows, ids = inputs.test_rows, inputs.source_ids(source)
    hidden = inputs.choices[source].method == "factored"

    def block(part: NDArray[np.int64]) -> CrossMoments:
        if hidden:
            x = double(store.hidden(inputs.source_template, part))
            y = double(store.hidden(inputs.target_template, part))
        else:
            x = double(store.logits(inputs.source_template, ids, part))
            y = double(store.logits(inputs.target_template, inputs.relation.target.ids, part))
        if isinstance(problem, Direct | Factored):
            return CrossMoments.of(like(x, problem.targets), like(y, problem.targets))
        assert isinstance(problem, Reduced | Kept)
        return CrossMoments.of(problem.coordinates(x), y)

    size = (
        _BLOCK_ROWS if hidden else max(_FEWEST_ROWS, min(_BLOCK_ROWS, inputs.memory_bytes // (64 * len(ids))))
    )
    parts = (rows[start : start + size] for start in range(0, len(rows), size))
    return functools.reduce(CrossMoments.merge, map(block, parts))


def input_digest(store: LogitStore, inputs: FitInputs, source: Source) -> str:
    """Hash all that goes into the fits of one source."""
    contents = [
        store.content_digest(name, inputs.fit_rows)
        for name in (inputs.source_template, inputs.target_template)
    ]
    told = [_SOLVERS, inputs.choices[source].method, inputs.rcond, inputs.root_penalty, contents]
    whole = hashlib.sha256(json.dumps(told).encode())
    for array in (inputs.source_ids(source), inputs.relation.target.ids, inputs.fit_rows):
        whole.update(array.astype(np.int64).tobytes())
    return whole.hexdigest()
