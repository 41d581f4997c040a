"""Maps on each other's rows, few directions and singular values, as they are drawn."""

import re

import pytest

from lincorr.scores.relation_scores import HitRates, Hits, Shares
from lincorr.scores.singular_values import PowerLaw
from lincorr.scores.study import (
    ANSWERS,
    FAMILY,
    WORDINGS,
    Applied,
    JointRank,
    OperatorGroup,
    RankPoint,
    SingularValues,
    StateSpectrum,
)
from pipeline.report.plots.operators import operators_plot, rank_plot
from pipeline.report.plots.spectrum import spectrum_plot

NAMES = ("<a>", "b & c")
JOINT = JointRank(
    share=0.99,
    r=(0.9, 0.8),
    together=2,
    alone=(1, 2),
    points=(RankPoint(1, (0.5, None), (0.9, 0.6)), RankPoint(2, (0.9, 0.8), (0.9, 0.8))),
)


def applied(r: float, hit1: float) -> Applied:
    nothing = Shares(None, None, None)
    return Applied(r, Hits(HitRates(hit1, 1.0, 1.0, of=4, chance=nothing), None))


def group(kind: str) -> OperatorGroup:
    cells = ((applied(0.9, 0.7), applied(-0.25, 0.5)), (Applied(None, None), applied(0.8, 0.6)))
    return OperatorGroup("land", kind, "domain", NAMES, None if kind == FAMILY else cells, JOINT)


def test_a_cell_says_whose_map_is_on_whose_rows() -> None:
    plot = operators_plot(group(ANSWERS), "k")
    assert plot is not None
    r, hit1 = (re.findall(r"<title>([^<]*)</title>", svg) for svg in plot.svgs)
    assert r == [
        "&lt;a&gt; on &lt;a&gt;: 0.900",
        "&lt;a&gt; on b &amp; c: −0.250",
        "b &amp; c on b &amp; c: 0.800",
    ]
    assert [words[-5:] for words in hit1] == ["0.700", "0.500", "0.600"]
    assert "mean 0.85 on their own, −0.25 on others" in plot.svgs[0]
    assert plot.png.startswith(b"\x89PNG")


@pytest.mark.parametrize(("kind", "drawings"), [(WORDINGS, 1), (FAMILY, None)])
def test_what_a_group_has_nothing_to_say_of_is_not_drawn(kind: str, drawings: int | None) -> None:
    plot = operators_plot(group(kind), "k")
    assert (plot and len(plot.svgs)) == drawings


def test_directions_together_are_drawn_beside_those_alone() -> None:
    plot = rank_plot(group(FAMILY), "k")
    assert plot is not None
    words = "99 % of every map’s r needs 2 shared directions; each by itself 1, 2, 3 in sum"
    assert words.replace("’", "'") in plot.svgs[0].replace("&#x27;", "'")
    assert "the same for all" in plot.svgs[0]


def singular_values(templates: tuple[str, ...], law: PowerLaw | None) -> SingularValues:
    return SingularValues(templates, 4, 3, 4, law, (1, 2, 4), (8.0, 2.0, 0.0))


def test_singular_values_of_zero_are_left_out_and_the_law_is_named() -> None:
    law = PowerLaw(exponent=2.0, scale=8.0, first=1, last=2, r2=1.0)
    alone = (singular_values(("a",), None), singular_values(("b",), None))
    plot = spectrum_plot(StateSpectrum(9, 2, singular_values(("a", "b"), law), alone), "k")
    assert plot is not None
    assert "3 exceed 1 % of the largest, 4 exceed 0.1 %" in plot.svgs[0]
    assert "with exponent 2.00" in plot.svgs[0]
