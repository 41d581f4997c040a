"""Which wording W is read in: that of the best leave-one-out r, the paper's, or the best in hindsight.

    lincorr extract every.yaml && lincorr fit every.yaml
    python benchmarks/reading.py every.yaml [--fit vocabulary-ridge] [--json reading.json]

`every.yaml` names a store, `wordings: all`, and relations; nothing is written. Hit rates are those of the
centred map between the answers, against the ground truth, which no choice sees. The ceiling is the best of
what the model says when it is asked outright, where the store has its answers. *Pooled* maps are weighted
means over the wordings of the centred weights between the answers, each divided by its Frobenius norm.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.relations.relation import first_wording
from lincorr.scores.asked import ceiling_share
from lincorr.scores.relation_scores import DIRECTIONS, Hits
from lincorr.scores.wordings import Wording as FittedWording
from lincorr.scores.wordings import Wordings
from lincorr.solvers.centred import centred, pooled_rows
from lincorr.solvers.result import Diagnosis
from lincorr.store.store import LogitStore
from pipeline.config import load_config
from pipeline.evaluate.asked import asked_scores
from pipeline.evaluate.reading import hits_both_ways
from pipeline.evaluate.wordings import wordings_of
from pipeline.fit.inputs import FitInputs
from pipeline.run import Run

Block = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Wording:
    """One wording of a relation, and what its map is read for.

    Attributes:
        scores: what it may be chosen by: the name of a leave-one-out r -> its value.
        target, source: hit@1 of an influenced target and of an influencing source.
        block: (p, q) the centred weights between the answers.
    """

    name: str
    scores: dict[str, float]
    target: float
    source: float
    block: Block


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation in all its wordings, the paper's first.

    Attributes:
        known: how many sources have a known right answer.
        ceiling: hit@1 both ways of what the model says when it is asked outright; None where it was not.
        pooled: name of the weights -> hit@1 both ways of the pooled map.
    """

    name: str
    known: int
    wordings: tuple[Wording, ...]
    ceiling: tuple[float, float] | None
    pooled: dict[str, tuple[float, float]]

    @property
    def paper(self) -> Wording:
        """The first wording."""
        return self.wordings[0]

    @property
    def hindsight(self) -> Wording:
        """The wording of the best hit@1 of influenced targets: chosen by the truth."""
        return max(self.wordings, key=lambda one: one.target)

    def chosen(self, score: str) -> Wording:
        """The wording of the best score; of equal ones the first."""
        return max(self.wordings, key=lambda one: np.nan_to_num(one.scores[score], nan=-math.inf))


def main() -> None:
    """Read every map of the store; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--fit", default="vocabulary-ridge")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = Run(load_config(options.config, {}))
    relations = read(run, run.store(), options.fit)
    print(f"{options.fit}, {len(run.inputs.subjects):,} subjects\n")
    print_wordings(relations)
    print_choices(relations)
    print_pooled(relations)
    if options.json:
        options.json.write_text(json.dumps([document(one) for one in relations], indent=2))


# --- reading -------------------------------------------------------------------------------------------


def read(run: Run, store: LogitStore, fit: str) -> list[Relation]:
    """Read the maps of every relation that has several wordings and a ground truth."""
    inputs = {one.relation.name: one for one in run.fit_inputs(store)}
    return [
        read_relation(store, found, [inputs[name] for name in found.names], fit)
        for found in wordings_of(store, run.inputs.relations)
        if inputs[found.names[0]].relation.truth
    ]


def read_relation(store: LogitStore, found: Wordings, group: Sequence[FitInputs], fit: str) -> Relation:
    """Read a relation's maps, and the pooled ones."""
    wordings = tuple(read_wording(store, *pair, fit) for pair in zip(found.wordings, group, strict=True))
    first = group[0]
    asked = asked_scores(store, first)
    target, source = (ceiling_share(asked, direction) for direction in DIRECTIONS)
    return Relation(
        found.relation,
        len(first.relation.truth),
        wordings,
        None if target is None or source is None else (target, source),
        {
            title: at_1(hits_both_ways(pool(wordings, weigh), first.relation))
            for title, weigh in WEIGHTS.items()
        },
    )


def read_wording(store: LogitStore, wording: FittedWording, inputs: FitInputs, fit: str) -> Wording:
    """Read one map between the relation's answers."""
    relation = inputs.relation
    fitted = centred(store.maps.load(relation.name, fit))
    block = fitted.block(relation.source.ids.tolist(), relation.target.ids.tolist())
    scores = {**wording.loo_r, CHOICE: wording.mean_loo_r, "as fitted": as_fitted(fitted.diagnosis)}
    known = {name: math.nan if score is None else score for name, score in scores.items()}
    return Wording(relation.name, known, *at_1(hits_both_ways(block, inputs.relation)), block)


def as_fitted(diagnosis: Diagnosis) -> float:
    """Return the leave-one-out r of the logits as they are, at the map's λ."""
    points = diagnosis.path.points if diagnosis.path else ()
    return next((at.score for at in points if at.root_penalty == diagnosis.root_penalty), math.nan)


def at_1(hits: Hits) -> tuple[float, float]:
    """Return hit@1 both ways."""
    shares = [hits.hit(direction, 1) for direction in DIRECTIONS]
    return shares[0] or 0.0, shares[1] or 0.0


# --- pooling -------------------------------------------------------------------------------------------

CHOICE = "both"  # what `wordings: chosen` goes by: the mean of domain and vocabulary
WEIGHTS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "equal": np.ones_like,
    "r²/(1-r²)": lambda r: r**2 / (1 - r**2),
    "r^32": lambda r: (r / r.max()) ** 32,
    "exp(r/.01)": lambda r: np.exp((r - r.max()) / 0.01),
}


def pool(wordings: Sequence[Wording], weigh: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Block:
    """Return the weighted mean of the wordings' blocks, each of Frobenius norm 1."""
    shares = weigh(np.array([one.scores[CHOICE] for one in wordings]))
    return pooled_rows([one.block for one in wordings], shares)


# --- tables --------------------------------------------------------------------------------------------


def print_wordings(relations: Sequence[Relation]) -> None:
    """Print each wording's scores and hit rates; what the choice and hindsight take is marked."""
    titles = [*(f"leave-one-out r: {title}" for title in relations[0].paper.scores), "hit@1", "source side"]
    print(f"| relation | {' | '.join(titles)} | |")
    print("| --- |" + " ---: |" * len(titles) + " --- |")
    for relation in relations:
        for one in relation.wordings:
            marks = ["chosen"] if one is relation.chosen(CHOICE) else []
            marks += ["best in hindsight"] if one.target == relation.hindsight.target else []
            figures = [*one.scores.values(), one.target, one.source]
            print(f"| {one.name} | {cells(figures)} | {', '.join(marks)} |")
    print()


def print_choices(relations: Sequence[Relation]) -> None:
    """Print each relation's hit@1 by who chose the wording, and what each score would have chosen."""
    titles = ["chosen", "paper's", "hindsight", "ceiling"]
    print(f"| relation | known | {' | '.join([*titles, *(f'source side: {title}' for title in titles)])} |")
    print("| --- |" + " ---: |" * (2 * len(titles) + 1))
    rows = [choices(one) for one in relations]
    for one, row in zip(relations, rows, strict=True):
        print(f"| {one.name} | {one.known} | {cells(row, 2)} |")
    means = [mean(column) for column in zip(*rows, strict=True)]
    print(f"| mean of {len(relations)} | {sum(one.known for one in relations)} | {cells(means)} |\n")
    print(
        "| chosen by leave-one-out r of | hit@1 | source side | mean regret | largest | wording: relations |"
    )
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for score in relations[0].paper.scores:
        taken = [one.chosen(score) for one in relations]
        regrets = [one.hindsight.target - of.target for one, of in zip(relations, taken, strict=True)]
        figures = [
            mean(of.target for of in taken),
            mean(of.source for of in taken),
            mean(regrets),
            max(regrets),
        ]
        counts = sorted(Counter(wording(of.name) for of in taken).items())
        print(f"| {score} | {cells(figures)} | {', '.join(f'{name}: {times}' for name, times in counts)} |")
    print()


def wording(name: str) -> str:
    """The number behind a relation's name: "2" of "city-country.2", "1" of "city-country"."""
    return name.removeprefix(first_wording(name)).lstrip(".") or "1"


def mean(figures: Iterable[float]) -> float:
    """The mean of those figures that are known."""
    known = [figure for figure in figures if not math.isnan(figure)]
    return fmean(known) if known else math.nan


def choices(relation: Relation) -> list[float]:
    """Return hit@1 of the chosen wording, the paper's, the best, and the ceiling; then of the source side."""
    read = relation.chosen(CHOICE), relation.paper, relation.hindsight
    target, source = relation.ceiling or (math.nan, math.nan)
    return [*(one.target for one in read), target, *(one.source for one in read), source]


def print_pooled(relations: Sequence[Relation]) -> None:
    """Print hit@1 both ways of the pooled maps beside the chosen one's."""
    titles = list(WEIGHTS)
    print(f"| relation | chosen | {' | '.join(titles)} | source side: chosen | {' | '.join(titles)} |")
    print("| --- |" + " ---: |" * (2 * len(titles) + 2))
    rows = []
    for one in relations:
        both = [(one.chosen(CHOICE).target, one.chosen(CHOICE).source), *one.pooled.values()]
        rows.append([target for target, _ in both] + [source for _, source in both])
        print(f"| {one.name} | {cells(rows[-1], 2)} |")
    print(f"| mean | {cells(map(mean, zip(*rows, strict=True)))} |")


def cells(figures: Iterable[float], digits: int = 3) -> str:
    """Return figures as cells of a table, without the zero before the point; empty where there is none."""
    return " | ".join("" if math.isnan(x) else f"{x:.{digits}f}".removeprefix("0") for x in figures)


def document(relation: Relation) -> dict[str, Any]:
    """Return a relation's figures as JSON values."""
    return {
        "relation": relation.name,
        "known": relation.known,
        "ceiling": relation.ceiling,
        "pooled": relation.pooled,
        "wordings": [
            {"name": one.name, **one.scores, "target": one.target, "source": one.source}
            for one in relation.wordings
        ],
    }


if __name__ == "__main__":
    main()
