"""A stored map at other penalties than its own: its source is decomposed once, then each λ is a product."""

from functools import cache, cached_property, lru_cache

from lincorr.errors import BadInput, LincorrError, in_one_line
from lincorr.readout import Readout
from lincorr.solvers.result import Diagnosis
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.explore.questions import Path
from pipeline.explore.solutions import Solutions
from pipeline.explore.weights import ReadMap
from pipeline.fit.inputs import Basis, FitInputs, basis_of, input_digest
from pipeline.fit.problem import set_up
from pipeline.fit.sources import SourceCache
from pipeline.run import Run

_PROBLEMS, _MAPS = 3, 8  # that stay in memory


class Paths:
    """The ridge paths of a store's maps."""

    def __init__(self, config: RunConfig, store: LogitStore) -> None:
        self._config = config
        self._store = store
        self._shared = SourceCache(store)
        self._solutions = lru_cache(_PROBLEMS)(self._decompose)
        self.map_at = lru_cache(_MAPS)(self._at)
        self.why_not = cache(self._why_not)

    def head(self) -> Readout | None:
        """Return the store's output head in float64; None if it has none."""
        return self._shared.head() if self._store.identity.hidden else None

    def path(self, diagnosis: Diagnosis) -> Path | None:
        """Return the penalties of a map's path, if it has one."""
        found = diagnosis.path
        if found is None:
            return None
        scores = tuple(None if point.score != point.score else point.score for point in found.points)
        roots = tuple(point.root_penalty for point in found.points)
        return Path(roots, scores, found.reading, found.best, diagnosis.root_penalty)

    def _why_not(self, relation: str, fit: str) -> str | None:
        """Say why a map can be read at its own penalty only; None if it can be read at any."""
        if not fit.endswith("-ridge"):
            return f"{fit} is the fit without a penalty; choose {fit}-ridge"
        if isinstance(self._inputs, str):
            return self._inputs
        inputs = self._inputs.get(relation)
        basis = basis_of(fit)
        if inputs is None or basis not in inputs.choices:
            return "these settings do not have this fit"
        choice = inputs.choices[basis]
        if choice.method == "tiled":
            return "a tiled fit is solved for one penalty"
        if self._store.maps.inputs(relation, fit) != input_digest(self._store, inputs, basis):
            return (
                "the map was fitted with other settings or subjects than these, or by another version; name "
                "its configuration, or run `lincorr fit`"
            )
        if choice.out_of_core:  # its decomposition may have been deleted: reading it is cheap
            try:
                self._solutions(relation, basis)
            except LincorrError as problem:
                return in_one_line(problem)
        return None

    @cached_property
    def _inputs(self) -> dict[str, FitInputs] | str:
        """The inputs of each relation's fits, or why there are none."""
        try:
            run = Run(self._config)
            every = run.inputs.relations  # also wordings that are not chosen can be looked up
            return {inputs.relation.name: inputs for inputs in run.fit_inputs(self._store, every)}
        except LincorrError as problem:
            return in_one_line(problem)

    def _decompose(self, relation: str, basis: Basis) -> Solutions:
        assert not isinstance(self._inputs, str)
        inputs = self._inputs[relation]
        for template in (inputs.source_template, inputs.target_template):
            self._store.shards.require_written(template, inputs.fit_rows)
        return Solutions.of(set_up(self._store, inputs, basis, self._shared), self._shared.head)

    def _at(self, relation: str, fit: str, root_penalty: float) -> ReadMap:
        """Return a ridge fit's map at a penalty, given as √λ/σ₁.

        Raises:
            BadInput: it can be read at its own penalty only, or this one is negative.
            StoreDamaged: the rows that it is fitted from are.
        """
        if (reason := self.why_not(relation, fit)) is not None:
            raise BadInput(f"penalty: {reason}")
        return self._solutions(relation, basis_of(fit)).at(root_penalty)
