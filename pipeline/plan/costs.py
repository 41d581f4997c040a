"""What fits and their evaluation cost: operations, and bytes read from the store (docs/scaling.md).

Products (BLAS) and decompositions (LAPACK) are counted apart, for they run at different rates. Letters: n
rows to fit, t held out, p and q source and target columns, d the model's width, r the rank at most, V the
vocabulary.
"""

import math
from dataclasses import dataclass

from lincorr.scores.bootstrap import REPLICATES, SAMPLED_OUTPUTS, SHUFFLES
from lincorr.scores.moments import FORM_COLUMNS
from lincorr.solvers.choose import EIGH_FLOPS, SVD_FLOPS, Choice, product_bytes
from lincorr.solvers.decomposed import FEW_OUTPUTS
from lincorr.solvers.reduced import SCORED_OUTPUTS
from lincorr.solvers.spectrum import ROOT_PENALTIES
from lincorr.solvers.thin_svd import TALL

# --- constants of a plan: MEASURED on something, or ASSUMED ---------------------------------------------

# Rates.
CPU_EFFICIENCY = 0.7  # of the float32 products' rate, in extraction: MEASURED on 2 cores
CPU_FIT_EFFICIENCY = 0.25  # in fits: float64 is half as fast, decompositions half of that: ASSUMED
# Of a GPU's peak, in extraction: ASSUMED. MEASURED on an H200: 0.13 to 0.18 with a model of 1.2 billion
# parameters (benchmarks/README.md); larger ones have larger products beside what memory and launches bound.
GPU_EFFICIENCY = 0.2
FIT_EFFICIENCY = 0.5  # of a host's float64 peak, in products and the passes over memory between them: ASSUMED
DECOMPOSITION_EFFICIENCY = 0.15  # of the same, in eigenvectors and singular vectors: ASSUMED
SORT_RATE = 15e6  # values ranked a second: MEASURED on 2 cores (and 19e6 on 16)
HASH_RATE = (
    1.5e9  # bytes a second of SHA-256 on one core, as each worker hashes its copy of the model: ASSUMED
)
WORKER_RATE = 2e9  # bytes a second between one host and the location of the store: ASSUMED
STORAGE_RATE = 20e9  # of that location, for all hosts together: ASSUMED
# Start and messages.
START_SECONDS = 8.0  # libraries, subjects, plan; workers that share all this: MEASURED on 2 cores
SPAWN_SECONDS = 7.0  # libraries of workers that do not (other systems, GPUs, clusters): MEASURED on 2 cores
# Of fits or evaluations in memory, in one process: longer ones are shared out among a cluster's workers, that
# take up to ten seconds to start, or longer in a queue.
WORTH_WORKERS_SECONDS = 60.0
CHECK_TOKENS = 1_200  # of the passes that check which shortcuts a model allows: MEASURED, with two templates
TRIAL_SECONDS = 8.0  # in which batch sizes are tried out: the limit in lincorr.model.tuning
MESSAGE_BYTES = 4_000  # a task and its receipt, through the scheduler: ASSUMED
BATCH_TOKENS = 8192  # of a pass on a GPU where cluster.batch_tokens does not say: ASSUMED, a run tries it out
# Memory that holds no data. Three different things:
FIT_LIBRARY_BYTES = 350_000_000  # resident in a worker that only fits (no torch): MEASURED on 2 cores
TORCH_LIBRARY_BYTES = 500_000_000  # resident with torch, a model's code, Dask and Zarr: MEASURED on 2 cores
CUDA_CONTEXT_BYTES = 1_500_000_000  # of a GPU: context, kernels, what the allocator leaves unused: ASSUMED

_PENALTIES = len(ROOT_PENALTIES)
_MAPS = 2  # without ridge and with


@dataclass(frozen=True, slots=True)
class FitSizes:
    """One fit of a relation, from one basis.

    Attributes:
        n, t: rows to fit, and held out.
        p, q: source and target columns.
        kept_p, kept_q: logits that the store has of either template.
        d: width of the model.
        vocabulary: V.
        n_subjects: rows of the store: whole shards are read.
        itemsize: bytes of a stored number.
        hidden: whether hidden states are stored.
        others: targets of other relations that serve as controls: none, or two.
    """

    n: int
    t: int
    p: int
    q: int
    kept_p: int
    kept_q: int
    d: int
    vocabulary: int
    n_subjects: int
    itemsize: int
    hidden: bool
    others: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work takes.

    Attributes:
        products, decompositions: operations.
        sorted_values: numbers that are ranked.
        read_bytes: from the store.
    """

    products: float = 0.0
    decompositions: float = 0.0
    sorted_values: float = 0.0
    read_bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.products + other.products,
            self.decompositions + other.decompositions,
            self.sorted_values + other.sorted_values,
            self.read_bytes + other.read_bytes,
        )


def fit_cost(sizes: FitSizes, choice: Choice) -> Cost:
    """Return the cost of the two maps of a source, with the path that chooses λ."""
    s = sizes
    bases = 2 if s.hidden else 1  # every shard is checked against its checksum once for both
    checked = Cost(read_bytes=_row_bytes(s) * s.n_subjects / bases)
    if choice.method == "factored":
        n, d, q = float(s.n), float(s.d), float(s.q)
        if q < FEW_OUTPUTS * d:
            path = 2 * d * q * (n + d) + _PENALTIES * 2 * n * d * q
        else:
            path = 2 * n * d**2 + 2 * q * d**2 + _PENALTIES * (6 * n * d**2 + 4 * q * d**2)
        solutions = _MAPS * (4 * n * d**2 + 10 * d**3)
        return checked + set_up_cost(s, choice) + Cost(products=path + solutions)
    if choice.method == "direct":
        n, p, q, r = float(s.n), float(s.p), float(s.q), float(_rank(s))
        path = _PENALTIES * 2 * n * r * q
        solutions = _MAPS * (4 * n * r * q + 6 * p * r * q)
        return checked + set_up_cost(s, choice) + Cost(products=path + solutions)
    rows = _data_bytes(s, choice) * s.n_subjects
    if choice.method == "tiled":  # takes one penalty as given; reads rows for their means, and once a sweep
        sweeps = math.ceil(product_bytes(s.p, s.q) / choice.worker_bytes)
        return checked + Cost(choice.flops, read_bytes=(1 + sweeps) * rows)
    left_out = _PENALTIES * 4.0 * s.n * _rank(s) * min(s.q, SCORED_OUTPUTS)
    return checked + Cost(choice.flops + left_out, read_bytes=rows)


def set_up_cost(s: FitSizes, choice: Choice) -> Cost:
    """Return the cost of reading and decomposing a source's rows; out of core, both are stored already."""
    if choice.out_of_core:
        return Cost()
    if choice.method == "factored":
        n, d = float(s.n), float(s.d)
        products = 2 * s.p * d**2 + 4 * n * d**2  # with the targets' projection
        found = _thin_svd(s.n, s.d) + Cost(products, EIGH_FLOPS * d**3)
    else:
        found = _thin_svd(s.n, s.p) + Cost(2.0 * s.n * _rank(s) * s.q)
    return found + Cost(read_bytes=_data_bytes(s, choice) * s.n_subjects)


def evaluation_cost(s: FitSizes, choice: Choice) -> Cost:
    """Return the cost of scoring the maps of a source, its path and its controls.

    Its bytes are those that are asked for; rows that fit into a part of memory are read from files once.
    """
    n, t, p, q, d = (float(size) for size in (s.n, s.t, s.p, s.q, s.d))
    bootstrap = 2.0 * REPLICATES * t * q * (2 + 3 * _MAPS)  # what is true is drawn and ranked once
    ranked = t * q * (1 + _MAPS)
    data = _data_bytes(s, choice) * s.n_subjects
    controls = 1.5 * s.others * data  # both sides of held-out rows, one of the others
    if choice.method == "factored":
        form = 2 * d**2 * (d + min(d, FORM_COLUMNS)) / (2 * d)  # of one output, with half of a triangle
        one = 2 * d**3 + 6 * d**3 + 3 * q * form  # solve and score
        point = 4 * d**2 * q if q < d else one  # in the outputs, if these are fewer
        products = 6 * t * d**2 * (1 + s.others) + bootstrap + _shuffled(s, one)
        products += sum(
            2 * t * d * tokens * (1 + _MAPS) + 2 * d**2 * tokens * _MAPS for tokens in (q, SAMPLED_OUTPUTS)
        )
        products += (1 + 2 * _MAPS) * s.vocabulary * form  # what is true of all outputs is formed once
        products += _MAPS * (one + 6 * d**3 + s.others * (one + 2 * n * d**2)) + _PENALTIES * point
        sampled = t * SAMPLED_OUTPUTS * (1 + _MAPS)
        means = 2.0 * s.n_subjects * (s.d + s.kept_q) * s.itemsize  # of logits, from hidden states
        reads = 2 * data + means + controls + 4.0 * s.vocabulary * d  # moments, predictions; the head
        return set_up_cost(s, choice) + Cost(products, 0.0, ranked + sampled, reads)
    moments = 2 * t * (p**2 + q**2 + p * q) * (1 + s.others)
    score = 2 * p**2 * q
    if choice.method == "direct":
        one = 2 * p * _rank(s) * q + score
        exchanged = one + 2 * n * _rank(s) * q
        products = bootstrap + _shuffled(s, one) + _PENALTIES * one
        products += _MAPS * (one + 2 * t * p * q + s.others * exchanged)
    else:
        r = float(_rank(s))
        one = 2 * p * r * q + score
        points = 0 if choice.method == "tiled" else _PENALTIES
        products = bootstrap + _MAPS * (one + 2 * t * p * q) + points * one
    reads = (1 + 1 + 2) * data + controls  # moments, predictions, the mean logit
    return set_up_cost(s, choice) + Cost(products + moments, 0.0, ranked, reads)


def _shuffled(s: FitSizes, one: float) -> float:
    """Operations of the shuffled control: projected once, then solved and scored for each map.

    Args:
        one: to solve and score the problem itself.
    """
    n, q, d = float(s.n), float(s.q), float(s.d)
    if s.p > s.kept_p and q < d:  # through hidden states, in the outputs
        return 2 * n * d * q * (1 + SHUFFLES) + _MAPS * SHUFFLES * 4 * d**2 * q
    width = d if s.p > s.kept_p else q
    return SHUFFLES * (2 * n * _rank(s) * width + _MAPS * one)


def relation_bytes(s: FitSizes) -> int:
    """Return what is read once a relation: to check its rows, and the same tokens on both sides."""
    same = (s.d if s.hidden else s.kept_q) + s.kept_q
    return (_row_bytes(s) + same * s.itemsize) * s.n_subjects


def _rank(s: FitSizes) -> int:
    return min(s.n, s.p, s.d)


def _thin_svd(n: int, k: int) -> Cost:
    if n < TALL * k:
        return Cost(decompositions=SVD_FLOPS * n * k * min(n, k))
    return Cost(8.0 * n * k**2 + 2.0 * k**3, (EIGH_FLOPS + SVD_FLOPS) * k**3)


def _row_bytes(s: FitSizes) -> int:
    """Bytes of a subject under both templates."""
    return (s.kept_p + s.kept_q + (2 * s.d if s.hidden else 0)) * s.itemsize


def _data_bytes(s: FitSizes, choice: Choice) -> int:
    """Bytes of a subject in a source's problem; logits that are not kept are made of hidden states."""
    source = s.kept_p if s.p <= s.kept_p and choice.method != "factored" else s.d
    target = s.kept_q if choice.method != "factored" else s.d
    return (source + target) * s.itemsize
