"""The paper's figures as data."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lincorr.relations.paper import PaperFigure, paper_figures


def value(relation: str, measure: str, table: str) -> float:
    (found,) = [f for f in paper_figures(relation) if f.measure == measure and f.table == table]
    return found.value


def test_a_figure_says_where_it_stands():
    assert paper_figures("gem-color")[0] == PaperFigure(
        relation="gem-color",
        measure="pearson",
        value=0.2746,
        model="llama-3-8b",
        table="T8",
        note="the caption says gradients, but the values are those of T4's logits",
    )


def test_all_figures_are_those_of_every_relation():
    every = paper_figures()
    assert sorted(every, key=str) == sorted(
        (f for name in {f.relation for f in every} for f in paper_figures(name)), key=str
    )
    assert paper_figures("no-such-relation") == ()


def test_no_figure_is_given_twice():
    counts = Counter((f.relation, f.measure, f.model, f.table) for f in paper_figures())
    assert set(counts.values()) == {1}


def test_every_table_has_as_many_figures_as_are_printed():
    counts = Counter(f.table for f in paper_figures())
    assert counts == {"T2": 48, "T4": 16, "T5": 22, "T7": 6, "T8": 10, "T9": 10, "T14": 10}


def test_figures_are_fractions_and_measures_are_known():
    hits = {f"{way}@{n}" for way in ("influenced target", "influencing source") for n in (1, 3, 5)}
    shallow = {f"shallow generalisation{part}" for part in ("", " when permuted", " of letters")}
    assert all(0 <= f.value < 1 for f in paper_figures())
    assert {f.measure for f in paper_figures()} == hits | shallow | {
        "pearson", "gradient", "pearson after post-training", "generalisation", "random",
    }  # fmt: skip


def test_hits_grow_with_how_many_are_looked_at():
    for name in {f.relation for f in paper_figures() if f.table == "T2"}:
        for way in ("influenced target", "influencing source"):
            first, third, fifth = (value(name, f"{way}@{n}", "T2") for n in (1, 3, 5))
            assert first <= third <= fifth


@pytest.mark.parametrize(("measure", "rho"), [("influenced target@1", 0.93), ("pearson", -0.14)])
def test_precision_goes_with_generalisation_and_correlation_does_not(measure, rho):
    table = "T4" if measure == "pearson" else "T2"
    both = [f.relation for f in paper_figures() if f.table == "T5" and f.measure == "generalisation"]
    names = [name for name in both if any(f.table == table for f in paper_figures(name))]
    assert len(names) == 8
    figures = [value(name, measure, table) for name in names]
    reached = [value(name, "generalisation", "T5") for name in names]
    assert stats.spearmanr(figures, reached).statistic == pytest.approx(rho, abs=0.005)


def test_the_means_of_the_simile_tables():
    def mean(table: str) -> float:
        return float(np.mean([f.value for f in paper_figures() if f.table == table]))

    assert mean("T8") == pytest.approx(0.615, abs=5e-4)
    assert mean("T9") == pytest.approx(0.571, abs=5e-4)


def test_slips_are_marked():
    marked = {(f.table, f.relation) for f in paper_figures() if f.note.startswith("slip")}
    assert {("T2", "city-city-es"), ("T14", "object-price"), ("T5", "food-taste")} <= marked


def test_loading_needs_nothing_heavy():
    code = (
        "import sys, lincorr.relations.paper as p; p.paper_figures(); "
        "print({'torch', 'babel'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
