"""The spectrum of the hidden states of all templates side by side: n subjects x (d · templates).

After *Sequences of Logits Reveal the Low Rank Structure of Language Models* (arXiv 2510.24966), where the
logits of many prompts and continuations have singular values that fall by a power law. No forward pass: the
states are those of the study.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import as_float64
from lincorr.scores.singular_values import Floats, effective_rank, of_gram, power_law
from lincorr.scores.study import SingularValues, StateSpectrum
from lincorr.store.cached import cached
from lincorr.store.store import LogitStore
from pipeline.plan.memory import most_states

NO_STATES = "the store has no hidden states"
_PANEL = 1024  # columns that are in memory in float64
_BLOCK = 2048  # rows that are
_SHOWN = 100  # singular values that are reported, evenly spaced on a logarithmic axis

Ids = NDArray[np.int64]


def spectrum_of(
    store: LogitStore, templates: Sequence[str], rows: Ids, memory_bytes: int
) -> StateSpectrum | None:
    """Return the spectrum of all templates and of each; cached in the store. None without hidden states.

    Where neither the subjects nor the columns are few enough, it is that of the first subjects.

    Args:
        rows: of the store.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    if not store.identity.hidden:
        return None
    width, most = store.identity.width, most_states(memory_bytes)
    if min(len(rows), width * len(templates)) > most:
        rows = rows[:most]

    def compute() -> StateSpectrum:
        alone = tuple(_singular_values(store, [name], rows) for name in templates)
        return StateSpectrum(len(rows), width, _singular_values(store, templates, rows), alone)

    depends_on = [list(templates), rows.tolist(), [store.shards.digest(name, rows) for name in templates]]
    return cached(store.maps, "study--spectrum", StateSpectrum, depends_on, compute)


def _singular_values(store: LogitStore, templates: Sequence[str], rows: Ids) -> SingularValues:
    columns = store.identity.width * len(templates)
    gram = _of_rows if len(rows) <= columns else _of_columns
    values = of_gram(gram(store, templates, rows))
    ranks = [effective_rank(values, share) for share in (0.01, 0.001)]
    shown = np.unique(np.geomspace(1, len(values), _SHOWN).round().astype(int))
    return SingularValues(
        templates=tuple(templates),
        count=len(values),
        rank_1=ranks[0],
        rank_01=ranks[1],
        law=power_law(values, ranks[0]),
        numbers=tuple(shown.tolist()),
        values=tuple(values[shown - 1].tolist()),
    )


def _of_rows(store: LogitStore, templates: Sequence[str], rows: Ids) -> Floats:
    """Return ``A Aᵀ`` (n, n) of centred states, a panel of columns at a time."""
    gram = np.zeros((len(rows), len(rows)))
    for name in templates:
        states = store.hidden(name, rows)
        for start in range(0, states.shape[1], _PANEL):
            panel = as_float64(states[:, start : start + _PANEL])
            panel = panel - panel.mean(axis=0)
            gram += panel @ panel.T
    return gram


def _of_columns(store: LogitStore, templates: Sequence[str], rows: Ids) -> Floats:
    """Return ``Aᵀ A`` (d · templates, d · templates) of centred states, a block of rows at a time."""
    mean = np.concatenate([store.hidden(name, rows).mean(axis=0, dtype=np.float64) for name in templates])
    gram = np.zeros((len(mean), len(mean)))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        block = np.concatenate([as_float64(store.hidden(name, part)) for name in templates], axis=1) - mean
        gram += block.T @ block
    return gram
