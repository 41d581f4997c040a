"""Every token to every token: what the fit costs, whether W is right, and what it reads along the λ path."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from benchmarks.solvers.machine import PeakMemory, print_table
from lincorr.prompts.subjects import split_rows
from lincorr.scores.moments import CrossMoments, finite_mean
from lincorr.solvers.factored import Factored
from lincorr.solvers.result import LinearMap, RidgePath
from lincorr.solvers.spectrum import Problem, coefficients, penalty_of, ridge_path, solve
from lincorr.store.store import LogitStore
from pipeline.config import load_config
from pipeline.evaluate.reading import KnownSources
from pipeline.fit.inputs import FitInputs, fit_inputs
from pipeline.fit.problem import held_out_moments, set_up
from pipeline.plan.memory import fit_memory
from pipeline.prepare.prepare import Inputs, prepare
from pipeline.prepare.relations import RelationInputs

COLUMNS = 64  # of W, compared with the explicit solve
BLOCK = 2048  # columns of explicit logits at a time: 400 MB of 24,576 rows
ROOT_PENALTIES = np.concatenate([[0.0], np.logspace(-4, 0, 20)])
KS = (1, 3, 5)

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OpenRelation:
    """One relation of a store, in the settings that it was made with."""

    store: LogitStore
    inputs: Inputs
    relation: RelationInputs

    @property
    def n_tokens(self) -> int:
        """V."""
        return self.store.identity.vocabulary_size

    def fit_inputs(self, inputs: Inputs | None = None) -> FitInputs:
        """What is fitted, of the store's subjects or of others that it has."""
        chosen = inputs or self.inputs
        config = load_config(None, {"relations": self.relation.name}, self.store.settings())
        split = split_rows(chosen.subjects.texts, config.subjects.split, seed=config.subjects.seed)
        [found] = fit_inputs(self.store, config, chosen, split, [self.relation], fit_memory(config.fit))
        return found


def open_relation(url: str, name: str, **overrides: str) -> OpenRelation:
    """Open a store and find a relation's columns and truth, with the settings that the store remembers."""
    store = LogitStore.open(url)
    config = load_config(None, {"relations": name, "store.path": url} | overrides, store.settings())
    inputs = prepare(config)
    return OpenRelation(store, inputs, inputs.relations[0])


# --- the whole vocabulary -----------------------------------------------------------------------------


def flagship(opened: OpenRelation) -> dict[str, Any]:
    """Fit all tokens to all tokens, compare W with an explicit solve, and read it."""
    inputs = opened.fit_inputs()
    n, tokens = len(inputs.fit_rows), opened.n_tokens
    with PeakMemory() as memory:
        began = time.perf_counter()
        problem = every_output(opened, set_up(opened.store, inputs, "vocabulary"))
        decomposed = time.perf_counter()
        path = ridge_path(problem, ROOT_PENALTIES)
        walked = time.perf_counter()
        maps = [solve(problem, root, path=path) for root in (0.0, path.reading)]
        ended = time.perf_counter()
    cost = {
        "n": n,
        "tokens": tokens,
        "decompose": decomposed - began,
        "path": walked - decomposed,
        "solve": ended - walked,
        "seconds": ended - began,
        "gb": memory.own / 1e9,
    }
    print(
        f"{n:,} subjects, {tokens:,} x {tokens:,}, {len(ROOT_PENALTIES)} penalties, "
        f"{inputs.choices['vocabulary'].method}\n"
    )
    print_table(
        [cost],
        {
            "decompose": ("read and decompose, s", ".1f"),
            "path": ("λ path, s", ".1f"),
            "solve": ("two maps, s", ".1f"),
            "seconds": ("in all, s", ".1f"),
            "gb": ("peak GB", ".2f"),
        },
    )
    checked = check(opened, inputs, problem, maps)
    read = readings(opened, inputs, path)
    return {"cost": cost, "checked": checked, **read}


def every_output(opened: OpenRelation, problem: Problem) -> Factored:
    """The same problem with every token as target."""
    assert isinstance(problem, Factored)
    return problem.for_targets(opened.store.readout().as_float64(), np.arange(opened.n_tokens))


def check(
    opened: OpenRelation, inputs: FitInputs, problem: Factored, maps: Sequence[LinearMap]
) -> list[dict[str, Any]]:
    """Compare columns of W with a solve of the explicit float64 logits that shares nothing with `factored`.

    X (n, V) is formed a block of columns at a time, centred, from the store's rows. It is never reduced by
    what is known of the head: a QR with column pivoting of twice d random columns of X finds a basis Q of X's
    columns, and one pass over all of X gives C = Qᵀ Xc and measures what Q misses of X (it must be rounding).
    Then ``min ‖Yc - Xc W‖² + λ‖W‖²`` is the same problem as with C for X and Qᵀ Yc for Y, which is small
    enough for LAPACK: gelsd cut at the same τ/σ₁ where λ = 0, else Cholesky of C Cᵀ + λ I.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(2)
    targets = np.sort(rng.choice(opened.n_tokens, COLUMNS, replace=False))
    source = Explicit(opened, inputs.source_template, inputs.fit_rows)
    y = Explicit(opened, inputs.target_template, inputs.fit_rows).columns(targets)
    basis, core, missed = compressed(source, opened, rng)
    right = basis.T @ y
    everything = np.arange(opened.n_tokens)
    rows = []
    for fitted in maps:
        penalty, cut = fitted.diagnosis.penalty, fitted.diagnosis.cut
        if penalty:
            system = core @ core.T + penalty * np.eye(len(core))
            expected = core.T @ scipy.linalg.cho_solve(scipy.linalg.cho_factor(system), right)
            rank = None
        else:
            expected, _, rank, _ = scipy.linalg.lstsq(
                core, right, cond=cut.threshold / cut.sigma_1, lapack_driver="gelsd"
            )
        off = np.linalg.norm(fitted.weights[everything, targets] - expected, axis=0)
        errors = off / np.linalg.norm(expected, axis=0)
        rows.append(
            {
                "root_penalty": fitted.diagnosis.root_penalty,
                "rank": cut.rank,
                "rank_explicit": rank,
                "largest": float(errors.max()),
                "median": float(np.median(errors)),
                "missed": missed,
            }
        )
    print(
        f"W on {COLUMNS} random columns against explicit float64 logits, "
        f"{time.perf_counter() - began:.0f} s\n"
    )
    print_table(
        rows,
        {
            "root_penalty": ("√λ/σ₁", ".4f"),
            "rank": ("rank", "d"),
            "rank_explicit": ("gelsd's rank", "d"),
            "largest": ("largest error of a column", ".1e"),
            "median": ("median", ".1e"),
            "missed": ("X outside Q", ".1e"),
        },
    )
    return rows


def compressed(
    source: "Explicit", opened: OpenRelation, rng: np.random.Generator
) -> tuple[Doubles, Doubles, float]:
    """Return Q, C = Qᵀ Xc, and the share of X that lies outside Q."""
    some = rng.choice(opened.n_tokens, min(2 * opened.store.identity.width, opened.n_tokens), replace=False)
    basis, triangle, _ = scipy.linalg.qr(
        source.columns(some), mode="economic", pivoting=True, overwrite_a=True
    )
    sizes = np.abs(np.diag(triangle))
    basis = np.ascontiguousarray(basis[:, sizes > 1e-12 * sizes[0]])
    core = np.empty((basis.shape[1], opened.n_tokens))
    missed = largest = 0.0
    for start in range(0, opened.n_tokens, BLOCK):
        part = slice(start, min(start + BLOCK, opened.n_tokens))
        block = source.columns(np.arange(part.start, part.stop))
        largest += float(np.linalg.norm(block)) ** 2
        core[:, part] = basis.T @ block
        block -= basis @ core[:, part]
        missed += float(np.linalg.norm(block)) ** 2
    return basis, core, math.sqrt(missed / largest)


@dataclass(frozen=True, slots=True)
class Explicit:
    """Centred float64 logits, columns on demand."""

    opened: OpenRelation
    template: str
    rows: NDArray[np.int64]

    def columns(self, ids: NDArray[np.int64]) -> Doubles:
        """Return (n, len(ids)) logits, formed in float64 from the stored states."""
        hidden = self.opened.store.hidden(self.template, self.rows).astype(np.float64)
        logits: Doubles = self.opened.store.readout().columns(ids).as_float64().logits(hidden)
        logits -= logits.mean(axis=0)
        return logits


# --- what is read ---------------------------------------------------------------------------------------


def readings(opened: OpenRelation, inputs: FitInputs, known: RidgePath | None = None) -> dict[str, Any]:
    """Score the four fits and the λ paths on held-out subjects and on the truth; print both.

    Args:
        known: the path of all outputs, if it was walked.
    """
    fits: list[dict[str, Any]] = []
    paths: dict[str, list[dict[str, Any]]] = {}
    for source in inputs.choices:
        problem = set_up(opened.store, inputs, source)
        everything = every_output(opened, problem) if isinstance(problem, Factored) else None
        moments = held_out_moments(opened.store, inputs, source, problem)
        path = ridge_path(problem, ROOT_PENALTIES)
        everywhere = None if everything is None else known or ridge_path(everything, ROOT_PENALTIES)
        fitted = solve(problem, 0.0)
        points = [point(problem, everything, moments, fitted, inputs, root) for root in ROOT_PENALTIES]
        for one, scored in zip(points, path.points, strict=True):
            one["loo_r"] = scored.score
            one["chosen"] = chosen(path, everywhere, one["root_penalty"])
        if everywhere is not None:
            for one, scored in zip(points, everywhere.points, strict=True):
                one["loo_r_all"] = scored.score
        by_root = {one["root_penalty"]: one for one in points}
        best = max(points, key=lambda one: one["hit1"])
        for name, one in ((source, by_root[0.0]), (f"{source}-ridge", by_root[path.reading])):
            fits.append({"fit": name, "columns": len(fitted.source_ids), "rank": problem.cut.rank} | one)
        fits.append(
            {
                "fit": f"{source}, best in hindsight",
                "columns": len(fitted.source_ids),
                "rank": problem.cut.rank,
            }
            | best
        )
        paths[source] = points
    truths = len(inputs.relation.truth)
    print(
        f"{len(inputs.fit_rows):,} subjects fitted, {len(inputs.test_rows):,} held out; "
        f"hit@k of {truths} sources\n"
    )
    scores = {
        "root_penalty": ("√λ/σ₁", ".4f"),
        "loo_r": ("loo r", ".3f"),
        "loo_r_all": ("loo r, all outputs", ".3f"),
        "r": (f"r, {len(inputs.relation.target)} answers", ".3f"),
        "r_all": ("r, all outputs", ".3f"),
        **{f"hit{k}": (f"hit@{k}", ".2f") for k in KS},
    }
    print_table(
        fits, {"fit": ("fit", ""), "columns": ("source columns", ",d"), "rank": ("rank", "d")} | scores
    )
    print_table(paths["vocabulary"], scores | {"chosen": ("chosen as", "")})
    return {"fits": fits, "paths": paths}


def point(
    problem: Problem,
    everything: Factored | None,
    moments: CrossMoments,
    fitted: LinearMap,
    inputs: FitInputs,
    root: float,
) -> dict[str, Any]:
    """Score one penalty."""
    solution = coefficients(problem, root)
    found: dict[str, Any] = {"root_penalty": float(root), "penalty": penalty_of(problem, root)}
    found["r"] = finite_mean(problem.score(solution, moments).pearson())
    if everything is not None:
        found["r_all"] = finite_mean(everything.score(solution, moments).pearson())
    at = KnownSources.of(fitted, inputs.relation).hits(problem, solution)
    return found | {f"hit{k}": at[k] for k in KS}


def chosen(path: RidgePath, everywhere: RidgePath | None, root: float) -> str | None:
    """Say by which rules a penalty was chosen."""
    rules = {"best": path.best, "reading": path.reading}
    if everywhere is not None:
        rules |= {"best of all outputs": everywhere.best, "reading of all outputs": everywhere.reading}
    return ", ".join(name for name, value in rules.items() if value == root) or None


# --- fewer subjects -------------------------------------------------------------------------------------


def fewer_subjects(opened: OpenRelation, counts: Sequence[int]) -> dict[str, Any]:
    """Read what fewer of the store's subjects give, drawn as a run of that many would draw them."""
    found, summary = {}, []
    for count in counts:
        began = time.perf_counter()
        asked = {"subjects.count": str(count), "subjects.classes": "text"}
        drawn = open_relation(opened.store.url, opened.relation.name, **asked)
        inputs = opened.fit_inputs(drawn.inputs)
        assert (opened.store.rows_of(drawn.inputs.subjects) >= 0).all(), (
            "the store lacks some of these subjects"
        )
        found[count] = readings(opened, inputs)
        fits = {fit["fit"]: fit for fit in found[count]["fits"]}
        for name in ("vocabulary", "vocabulary-ridge", "vocabulary, best in hindsight"):
            summary.append(fits[name] | {"subjects": count, "seconds": time.perf_counter() - began})
    print_table(
        summary,
        {
            "subjects": ("subjects", ",d"),
            "fit": ("fit", ""),
            "root_penalty": ("√λ/σ₁", ".4f"),
            "r": ("r, answers", ".3f"),
            "r_all": ("r, all outputs", ".3f"),
            "hit1": ("hit@1", ".2f"),
            "seconds": ("total, s", ".1f"),
        },
    )
    return {"by_count": found, "summary": summary}
