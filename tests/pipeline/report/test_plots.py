"""Plots: what is drawn, and how it is told apart."""

import math
import re
import subprocess
import sys

from lincorr.scores.relation_scores import Heatmap
from pipeline.report.plots.bipartite import DrawnLink, bipartite_plot, links_of
from pipeline.report.plots.weights import weight_map, weights_plot
from tests.pipeline.report.documents import make_relation, scores


def test_pyplot_stays_out() -> None:
    """Importing pyplot would choose a backend for the user's whole session."""
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams.copy())\n"
        "from pipeline.report.plots.pearson import pearson_plot\n"
        "from tests.pipeline.report.documents import make_relation, scores\n"
        "assert pearson_plot(scores(make_relation()), 'k').png\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams.copy()) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_links_of_known_sources_are_right_or_not_and_others_neither() -> None:
    links = [{"token": f"t{n}", "weight": 0.5 - n, "right": n == 1} for n in range(4)]
    known = make_relation() | {
        "strongest": [
            {"source": "known", "truth": ["t1"], "by_fit": {"domain": links, "vocabulary-ridge": []}},
            {"source": "other", "truth": [], "by_fit": {"domain": [links[0] | {"weight": 2.0}]}},
            *({"source": f"s{n}", "truth": [], "by_fit": {"domain": links}} for n in range(50)),
        ]
    }
    relation = scores(known)
    drawn = links_of(relation, "domain")
    assert drawn[0] == DrawnLink("other", "t0", 2.0, None)
    assert [link for link in drawn if link.source == "known"] == [
        DrawnLink("known", "t0", 0.5, False),
        DrawnLink("known", "t1", -0.5, True),
    ]
    assert len({link.source for link in drawn}) == 24
    assert links_of(relation, "vocabulary-ridge") == []


def test_right_and_wrong_links_differ_in_more_than_colour() -> None:
    relation = make_relation()
    relation["strongest"] = relation["strongest"][:1]
    plot = bipartite_plot(scores(relation), "key")
    assert plot is not None
    lines = re.findall(r"<title>([^<]*)</title><path d=\"[^\"]*\" style=\"([^\"]*)\"", plot.svgs[0])
    assert [("(true)" in words, "dasharray" in style) for words, style in lines] in (
        [(False, True), (True, False)],
        [(True, False), (False, True)],
    )
    widths = {"true" in w: float(s.partition("stroke-width:")[2].partition(";")[0]) for w, s in lines}
    assert widths[True] > widths[False]  # the weight of the true one is greater


def test_small_weights_keep_their_figures() -> None:
    """As those of a full vocabulary, of which each has a small part."""
    relation = make_relation()
    links = [{"token": " Japan", "weight": 1.25e-5, "right": True}]
    relation["strongest"] = [{"source": " Tokyo", "truth": [" Japan"], "by_fit": {"domain": links}}]
    relation["heatmap"] |= {
        "sources": [" Tokyo"],
        "targets": [" Japan", " Peru"],
        "weights": [[1.25e-5, -3.1e-4]],
        "right": [[True, False]],
    }
    drawn = (bipartite_plot(scores(relation), "key"), weights_plot(scores(relation), "key"))
    links_svg, map_svg = (plot.svgs[0] for plot in drawn if plot is not None)
    assert "·Tokyo → ·Japan: 1.25 × 10⁻⁵ (true)" in links_svg
    assert "·Tokyo → ·Japan: 1.25 × 10⁻⁵ (true)" in map_svg
    assert "·Tokyo → ·Peru: −0.00031<" in map_svg
    assert "weights up to 0.00031 either side" in map_svg


def test_a_large_map_keeps_true_pairs_and_says_so() -> None:
    size = 200
    shown = weight_map(
        Heatmap(
            fit="domain",
            sources=tuple(f"s{n}" for n in range(size)),
            targets=tuple(f"t{n}" for n in range(size)),
            weights=tuple(tuple(float(col == 150) for col in range(size)) for _ in range(size)),
            right=tuple(tuple(row == 0 and col == 199 for col in range(size)) for row in range(size)),
        )
    )
    assert shown is not None
    assert {"t150", "t199"} <= set(shown.targets)
    assert len(shown.weights) == len(shown.sources) == 40
    assert len(shown.weights[0]) == len(shown.targets) == 48
    assert "40 of 200 sources" in shown.left_out
    assert math.isclose(shown.largest, 1.0)
