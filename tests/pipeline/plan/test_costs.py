"""Products and bytes of fits, against counted products and a store on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lincorr.readout import Readout
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.choose import choose
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import factored
from lincorr.solvers.spectrum import ridge_path, solve
from lincorr.store.shards import Shards
from lincorr.testing import hidden_problem
from pipeline.config import load_config
from pipeline.plan.costs import FitSizes, evaluation_cost, fit_cost, relation_bytes, set_up_cost
from pipeline.plan.estimate import map_bytes
from pipeline.run import Run
from tests.pipeline.plan.configurations import planned


class Counted(np.ndarray):
    """An array that counts the operations of its matrix products."""

    operations = 0.0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        plain = [np.asarray(i) if isinstance(i, np.ndarray) else i for i in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(o) for o in out)
        found = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.operations += 2.0 * np.size(found) * plain[0].shape[-1]
        return found.view(Counted) if isinstance(found, np.ndarray) else found


def counted(array: Any) -> Any:
    return np.asarray(array, np.float64).view(Counted)


def count(function: Callable[[], Any]) -> tuple[Any, float]:
    Counted.operations = 0.0
    found = function()
    return found, Counted.operations


def test_the_counter_counts():
    a = counted(np.ones((3, 4)))
    assert count(lambda: a @ a.T)[1] == 2 * 3 * 4 * 3


SIZES = {
    "factored": FitSizes(
        n=600, t=300, p=500, q=90, kept_p=60, kept_q=90, d=40, vocabulary=500, n_subjects=900, itemsize=4,
        hidden=True,
    ),
    "direct": FitSizes(
        n=600, t=300, p=60, q=90, kept_p=60, kept_q=90, d=80, vocabulary=500, n_subjects=900, itemsize=4,
        hidden=True,
    ),
}  # fmt: skip


def set_up(method: str, s: FitSizes) -> Any:
    made = hidden_problem(s.n, s.d, s.p, s.q)
    ids: dict[str, Any] = {"source_ids": np.arange(s.p), "target_ids": np.arange(s.q)}
    if method == "direct":
        x, y = counted(made.source_logits()), counted(made.target_logits())
        return direct(x, y, storage_eps=1e-12, **ids)
    heads = [Readout(counted(head.weight)) for head in (made.source_head, made.target_head)]
    return factored(counted(made.source), counted(made.target), *heads, storage_eps=1e-12, **ids)


@pytest.mark.parametrize("method", SIZES)
def test_products_of_a_fit_are_those_that_are_made(method: Any) -> None:
    s = SIZES[method]
    choice = choose(s.n, s.p, s.q, width=s.d, hidden=True, memory_bytes=10**9, method=method)
    problem, made = count(lambda: set_up(method, s))
    assert set_up_cost(s, choice).products == pytest.approx(made, rel=0.05)
    _, walked = count(lambda: ridge_path(problem))
    _, solved = count(lambda: [solve(problem, root) for root in (0.0, 0.1)])
    assert fit_cost(s, choice).products == pytest.approx(made + walked + solved, rel=0.05)


@pytest.mark.parametrize("method", SIZES)
def test_products_of_scoring_are_those_that_are_made(method: Any) -> None:
    s = SIZES[method]
    choice = choose(s.n, s.p, s.q, width=s.d, hidden=True, memory_bytes=10**9, method=method)
    problem, set_up_products = count(lambda: set_up(method, s))
    held = hidden_problem(s.t, s.d, s.p, s.q)
    x, y = (
        (held.source, held.target) if method == "factored" else (held.source_logits(), held.target_logits())
    )
    moments, made = count(lambda: CrossMoments.of(counted(x), counted(y)))
    _, scored = count(lambda: problem.score(problem.coefficients(1.0), moments))
    _, exchanged = count(lambda: problem.with_centred(problem.targets))
    # the path of 21 penalties, and for two maps themselves and eight shuffles, which are projected once;
    # bootstrap, predictions and all outputs are beside
    most = set_up_products + made + (21 + 2 * 9) * scored + 8 * exchanged
    beside = 2 * 400 * s.t * s.q * (2 + 2 * 3)
    if method == "factored":  # the truth and both maps, of answers and of sampled outputs
        beside += 3 * 2 * s.t * s.d * (s.q + 512) + 2 * 2 * s.d**2 * (s.q + 512)
    else:
        beside += 2 * 2 * s.t * s.p * s.q
    beside += 2 * 6 * s.d**3 + (1 + 2 * 2) * 2 * s.vocabulary * s.d**2 if method == "factored" else 0
    assert evaluation_cost(s, choice).products == pytest.approx(most + beside, rel=0.05)


# --- bytes ---------------------------------------------------------------------------------------------


def test_bytes_are_those_of_a_store_on_disk(flags, tmp_path, monkeypatch):
    work = planned(flags)
    run = Run(load_config(None, flags))
    receipts = run.extract()
    assert sum(r.bytes_written for r in receipts) == work.data_bytes
    store = tmp_path / "run.zarr"
    # a chunk has four bytes of checksum, and the last shard's are as long as the others'
    chunks = work.n_shards * 2 * len(work.columns)
    padded = work.n_shards * work.shard_rows * work.row_width * work.itemsize
    assert size(store / "logits") + size(store / "hidden") == padded + 4 * chunks
    assert size(store / "head") == work.head_bytes + 4

    read: list[int] = []
    verified = Shards._verified

    def watched(self: Shards, *args: Any) -> Any:
        data = verified(self, *args)
        read.append(data.nbytes)
        return data

    monkeypatch.setattr(Shards, "_verified", watched)
    run.fit()
    costs = [fit_cost(*fit) for fit in work.fits.values()]
    assert sum(read) == pytest.approx(sum(cost.read_bytes for cost in costs), rel=0.02)
    read.clear()
    Run(load_config(None, flags)).evaluate()  # on its own: after a fit, sources are decomposed already
    head = 4 * work.sizes.vocabulary_size * work.sizes.width
    costs = [evaluation_cost(*fit) for fit in work.fits.values()]
    checked = relation_bytes(next(iter(work.fits.values()))[0])
    assert sum(read) == pytest.approx(sum(c.read_bytes for c in costs) + checked - head, rel=0.02)
    maps = sum(map_bytes(s.p, s.q, s.d, choice.method) for s, choice in work.fits.values())
    assert size(store / "maps") == pytest.approx(maps, rel=0.02)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("**/c/**/*") if path.is_file())
