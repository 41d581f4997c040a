"""One table of problems for the in-memory solvers, and LAPACK's gelsd.

A solver sees a problem through its logits (direct) or its hidden states and heads (factored); the
reference always gets the logits that those make, written out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from lincorr.readout import Readout
from lincorr.solvers.cutoff import EPS64
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import Factored, factored
from lincorr.solvers.spectrum import Problem
from tests.lincorr.solvers.problems import Floats, centred, constant_column, duplicate_column, matrix


def answers(source: Floats, q: int, seed: int = 1) -> Floats:
    """Targets (n, q) that follow from the source, and some noise."""
    rng = np.random.default_rng(seed)
    n, p = source.shape
    made: Floats = centred(source) @ rng.standard_normal((p, q)) + rng.normal(3, 0.1, (n, q))
    return made


@dataclass(frozen=True)
class Logits:
    """A problem for the direct solver."""

    source: Floats
    target: Floats
    head_condition: float = 1.0

    def problem(self, xp: Any = np, **options: Any) -> Problem:
        options = {"storage_eps": EPS64} | options
        return direct(
            xp.asarray(self.source),
            xp.asarray(self.target),
            source_ids=np.arange(self.source.shape[1]),
            target_ids=np.arange(self.target.shape[1]),
            **options,
        )


@dataclass(frozen=True)
class Hidden:
    """A problem for the factored solver: hidden states and heads."""

    hidden_source: Floats
    hidden_target: Floats
    source_head: Readout
    target_head: Readout

    @property
    def source(self) -> Floats:
        return np.asarray(self.source_head.logits(self.hidden_source))

    @property
    def target(self) -> Floats:
        return np.asarray(self.target_head.logits(self.hidden_target))

    @property
    def head_condition(self) -> float:
        values = np.linalg.svd(self.source_head.weight, compute_uv=False)
        return float(values[0] / values[values > 1e-7 * values[0]][-1])

    def problem(self, xp: Any = np, **options: Any) -> Factored:
        def moved(head: Readout) -> Readout:
            bias = None if head.bias is None else xp.asarray(head.bias)
            return Readout(xp.asarray(head.weight), bias, head.scale, head.softcap)

        options = {"storage_eps": EPS64} | options
        return factored(
            xp.asarray(self.hidden_source),
            xp.asarray(self.hidden_target),
            moved(self.source_head),
            moved(self.target_head),
            source_ids=np.arange(self.source_head.weight.shape[0]),
            target_ids=np.arange(self.target_head.weight.shape[0]),
            **options,
        )


Case = Logits | Hidden


def logits(
    n: int, p: int, q: int = 4, *, change: Callable[[Floats], Floats] | None = None, **kind: Any
) -> Logits:
    source = matrix(n, p, **kind)
    if change is not None:
        source = change(source)
    return Logits(source, answers(source, q))


def hidden(n: int, d: int, p: int, q: int = 4, *, kappa: float = 10.0, mean: float = 1.0) -> Hidden:
    rng = np.random.default_rng(2)
    source = matrix(n, d, kappa=kappa) + mean * rng.standard_normal(d)
    target = answers(source, d)
    heads = [Readout(rng.standard_normal((columns, d))) for columns in (p, q)]
    return Hidden(source, target, *heads)


def with_head(case: Hidden, weight: Floats, **more: Any) -> Hidden:
    return Hidden(case.hidden_source, case.hidden_target, Readout(weight, **more), case.target_head)


def lame_head(case: Hidden) -> Hidden:
    """Some rows of the source head are zero, some are there twice: its rank is 6 of 12."""
    weight = case.source_head.weight.copy()
    weight[6:] = weight[np.arange(len(weight) - 6) % 6]
    weight[-3:] = 0.0
    return with_head(case, weight)


def biased_and_scaled(case: Hidden) -> Hidden:
    rng = np.random.default_rng(3)
    heads = [
        Readout(head.weight, rng.normal(0, 10, len(head.weight)), scale)
        for head, scale in ((case.source_head, 0.25), (case.target_head, 4.0))
    ]
    return Hidden(case.hidden_source, case.hidden_target, *heads)


CASES: dict[str, Case] = {
    "direct tall": logits(80, 10),
    "direct wide": logits(20, 50),
    "direct square": logits(30, 30),
    "direct n=3": logits(3, 5),
    "direct q=1": logits(40, 10, 1),
    "direct p=1": logits(40, 1),
    "direct rank-deficient": logits(60, 20, rank=7),
    "direct rank-deficient wide": logits(20, 60, rank=7),
    "direct duplicated column": logits(60, 10, change=duplicate_column),
    "direct constant column": logits(60, 10, change=constant_column),
    "direct large means": logits(60, 10, change=lambda x: x + 1e3),
    "direct large means, rank-deficient": logits(60, 20, rank=7, change=lambda x: x + 1e3),
    "direct badly scaled": logits(60, 10, change=lambda x: x * np.logspace(-3, 3, 10)),
    "direct kappa 1e2": logits(60, 20, kappa=1e2),
    "direct kappa 1e5": logits(60, 20, kappa=1e5),
    "direct kappa 1e8": logits(60, 20, kappa=1e8),
    "factored n<d": hidden(20, 30, 60),
    "factored d<n<p": hidden(40, 8, 100),
    "factored n>p": hidden(200, 8, 20),
    "factored p<d": hidden(100, 20, 10),
    "factored p<d, n<d": hidden(15, 20, 10),
    "factored q>d": hidden(60, 8, 30, 40),
    "factored q=1": hidden(60, 8, 30, 1),
    "factored n=3": hidden(3, 8, 30),
    "factored repeated and zero head rows": lame_head(hidden(60, 12, 40)),
    "factored bias and scale": biased_and_scaled(hidden(60, 8, 30)),
    "factored bias and scale, q>d": biased_and_scaled(hidden(60, 8, 30, 40)),
    "factored large means": hidden(60, 8, 30, mean=1e3),
    "factored kappa 1e2": hidden(60, 8, 30, kappa=1e2),
    "factored kappa 1e5": hidden(60, 8, 30, kappa=1e5),
    "factored kappa 1e8": hidden(60, 8, 30, kappa=1e8),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())

typical = pytest.mark.parametrize(
    "case",
    [
        CASES[name]
        for name in ("direct tall", "direct wide", "factored d<n<p", "factored p<d", "factored q>d")
    ],
    ids=["direct tall", "direct wide", "factored d<n<p", "factored p<d", "factored q>d"],
)


# --- references ---------------------------------------------------------------------------------------


def gelsd(case: Case, cond: float = 1e-11) -> tuple[Floats, Floats, int]:
    """LAPACK's minimum-norm weights, singular values and rank of the centred logits."""
    weights, _, rank, values = scipy.linalg.lstsq(
        centred(case.source), centred(case.target), cond=cond, lapack_driver="gelsd"
    )
    return weights, values, int(rank)


def expected_error(case: Case, weights: Floats, values: Floats, rank: int) -> float:
    """How far two backward stable solutions may be apart (Wedin): a few hundred roundings, magnified.

    Rounding is relative to the uncentred data; the factored solver squares its head's condition.
    """
    kappa = values[0] / values[rank - 1]
    source, target = centred(case.source), centred(case.target)
    residual = np.linalg.norm(target - source @ weights) / (values[0] * np.linalg.norm(weights))
    size = np.linalg.norm(case.source) / np.linalg.norm(source) + np.linalg.norm(case.target) / (
        values[0] * np.linalg.norm(weights)
    )
    return float(300 * EPS64 * size * case.head_condition**2 * kappa * (1 + kappa * residual))
