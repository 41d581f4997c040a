"""Fitted relations of a planted store, with and without hidden states, and their data as plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import string_subjects
from lincorr.readout import Readout
from lincorr.relations.relation import Relation, Side, Template
from lincorr.solvers.choose import Choice
from lincorr.store.identity import Identity
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.prepare.relations import RelationInputs
from pipeline.runtime.executor import Serial
from tests.stores import arrays

SUBJECTS, FITTED, WIDTH, TOKENS = 90, 60, 6, 30
TEMPLATES = ("home", "home.2", "late", "land", "land.2", "dish")
HOMES, LATES, LANDS, DISHES = range(8), range(5), range(8, 16), range(16, 21)
RELATIONS: Mapping[str, tuple[str, str, Sequence[int], Sequence[int]]] = {
    "home-land": ("home", "land", HOMES, LANDS),
    "home-land.2": ("home.2", "land.2", HOMES, LANDS),
    "late-land": ("late", "land", LATES, LANDS),
    "late-dish": ("late", "dish", LATES, DISHES),
}
NEIGHBOURS: dict[int, tuple[int, ...]] = {
    source: (target,) for source, target in zip(LATES, LANDS[1:], strict=False)
}
TRUTH: dict[str, dict[int, tuple[int, ...]]] = {
    "home-land": {source: (target,) for source, target in zip(HOMES, LANDS, strict=True)},
    "home-land.2": {source: (target,) for source, target in zip(HOMES, LANDS, strict=True)},
    "late-land": NEIGHBOURS,  # another truth at the same sources
    "late-dish": {},
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A store whose relations are fitted.

    Attributes:
        states: template -> hidden states (n, d), as they were written.
        head: (tokens, d).
    """

    path: Path
    store: LogitStore
    inputs: list[FitInputs]
    states: Mapping[str, np.ndarray]
    head: np.ndarray

    def problem(self, relation: str, fit: str) -> tuple[np.ndarray, np.ndarray]:
        """Source and target logits (n, p) and (n, q)."""
        source, target, sources, targets = RELATIONS[relation]
        x = self.states[source] @ self.head.T
        y = self.states[target] @ self.head.T
        return (x if fit.startswith("vocabulary") else x[:, list(sources)]), y[:, list(targets)]

    def weights(self, relation: str, fit: str) -> np.ndarray:
        """W (p, q), multiplied out."""
        stored = arrays(str(self.path), f"maps/{relation}/{fit}")
        parts = {name.split("/")[-1]: values for name, values in stored.items()}
        if "hidden_core" in parts:
            return np.asarray(self.head @ parts["hidden_core"] @ self.head[parts["target_ids"]].T)
        if "core" in parts:
            return np.asarray(parts["left"] @ parts["core"] @ parts["right"].T)
        return np.asarray(parts["tiles"] if "tiles" in parts else parts["weights"])

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Fitted and held-out rows."""
        return self.inputs[0].fit_rows, self.inputs[0].test_rows


def planted_states(
    path: Path, *, hidden: bool = True
) -> tuple[LogitStore, Mapping[str, np.ndarray], np.ndarray]:
    """Make a store; return it, its hidden states (float32's numbers in float64), and its head."""
    rng = np.random.default_rng(0)
    head = _in_float32(rng.normal(size=(TOKENS, WIDTH)))
    first = rng.normal(size=(SUBJECTS, WIDTH)) * np.logspace(0, -1, WIDTH)
    states = {}
    for name in TEMPLATES:
        noise = 0.3 * rng.normal(size=(SUBJECTS, WIDTH))
        states[name] = _in_float32(first @ rng.normal(size=(WIDTH, WIDTH)) + noise + 1)
    return _store(path, states, head, hidden=hidden), states, head


def plant(path: Path, method: str) -> Planted:
    """Make a store and fit its relations; `method` is that of the vocabulary's fits."""
    store, states, head = planted_states(path, hidden=method == "factored")
    rows = np.random.default_rng(1).permutation(SUBJECTS)
    choices = {"domain": Choice("direct", ""), "vocabulary": Choice(method, "")}
    inputs = [
        FitInputs(
            relation=_relation(name),
            fit_rows=np.sort(rows[:FITTED]),
            test_rows=np.sort(rows[FITTED:]),
            choices=choices,  # type: ignore[arg-type]
            n_tokens=TOKENS,
            rcond=None,
            root_penalty=0.05,
            memory_bytes=10**8,
            device="cpu",
        )
        for name in RELATIONS
    ]
    for one in inputs:
        fit_relation(store, one, Serial)
    return Planted(path, store, inputs, states, head)


def _in_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def _relation(name: str) -> RelationInputs:
    source, target, sources, targets = RELATIONS[name]
    first, second = (Side(Template(one, f"{{}} {one}"), ()) for one in (source, target))
    return RelationInputs(
        Relation(name, "places", first, second, ()), _columns(sources), _columns(targets), TRUTH[name]
    )


def _columns(ids: Sequence[int]) -> Columns:
    texts = tuple(f" token {number}" for number in ids)
    return Columns(np.array(ids, dtype=np.int64), texts, texts, (True,) * len(texts), {})


def _store(path: Path, states: Mapping[str, np.ndarray], head: np.ndarray, *, hidden: bool) -> LogitStore:
    identity = Identity(
        source="planted",
        revision=None,
        config="",
        weights="",
        tokenizer="",
        compute="float64",
        head="linear",
        linear=True,
        vocabulary_size=TOKENS,
        width=WIDTH,
        precision="float32",
        hidden=hidden,
        shard_rows=50,
        batch_tokens=1,
        passes="whole",
    )
    store = LogitStore.create(str(path), identity)
    store.add_subjects(string_subjects([f"subject {number}" for number in range(SUBJECTS)]))
    if hidden:
        store.head.write(Readout(head.astype(np.float32)))
    for name, values in states.items():
        store.add_template(Template(name, f"{{}} {name}"), _columns(range(TOKENS)))
        for shard in range(store.shards.count):
            part = values[store.shards.rows(shard)]
            store.shards.write(name, shard, part @ head.T, part if hidden else None)
    return store
