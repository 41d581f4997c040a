"""A hostile document, and a reader of pages."""

from html.parser import HTMLParser
from typing import Any

from lincorr.scores.documents import from_json, to_json
from lincorr.scores.relation_scores import RelationScores
from lincorr.scores.results import Results

HOSTILE = [
    " <script>alert(1)</script>",
    '"><img src="https://example.org/x">',
    " & ]]> -- \n\r\t\x00\x1b",
    "\u200f\u202eabc\ufffd\ud800",
    "$x^{2}$ \\frac",
    "",
]

FITS = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")

CHANCE = {"1": 0.011, "3": 0.033, "5": 0.055}
FAITHFUL = {"share": 0.84, "low": 0.83, "high": 0.85, "constant": 0.64, "mean": 0.64, "subjects": 500}

VOID = {"meta", "br", "img", "link", "input", "hr"}


def make_fit(name: str, tokens: list[str]) -> dict[str, Any]:
    ridge = name.endswith("ridge")
    points = [(0.001, None), (0.003, "best"), (0.01, "reading")]
    return {
        "name": name,
        "label": f"{name.partition('-')[0]} columns, {'ridge' if ridge else 'least squares'}",
        "source_columns": 151,
        "target_columns": len(tokens),
        "method": "direct",
        "reason": "it is small",
        "root_penalty": 0.01 if ridge else 0.0,
        "penalty": 1211.0 if ridge else 0.0,
        "rank": 151,
        "sigma_1": 3480.1,
        "sigma_r": 0.5,
        "sigma_next": None,
        "noise_floor": 0.001,
        "identified": ridge,
        "normal_residual": 1e-15,
        "min_norm_residual": float("inf"),
        "r": 0.807,
        "r_std": float("nan"),
        "r_low": 0.791,
        "r_high": 0.824,
        "r2": -0.25,
        "spearman": 0.772,
        "r_all": 0.8125 if name.startswith("vocabulary") else None,
        "spearman_sample": 0.761 if name.startswith("vocabulary") else None,
        "sampled_outputs": 512 if name.startswith("vocabulary") else None,
        "faithfulness": FAITHFUL,
        **({"faithfulness_all": FAITHFUL | {"constant": 0.61}} if name.startswith("vocabulary") else {}),
        "r_shuffled": -0.013,
        "r_shuffled_std": 0.088,
        "r_mean_logit": 0.365,
        "r_other_prompt": 0.757,
        "r_unrelated": 0.41,
        "r_by_target": [{"token": t, "r": 0.5 + n / 20, "spearman": 0.4} for n, t in enumerate(tokens)],
        "hits": {
            "influenced target": {
                **{"1": 0.05, "3": 0.1, "5": 0.14, "of": 42, "chance": CHANCE},
                "low": {"1": 0.01, "3": 0.04, "5": 0.06},
                "high": {"1": 0.12, "3": 0.19, "5": 0.25},
            },
            "influencing source": {"1": 0.2, "3": 0.3, "5": None, "of": 30, "chance": CHANCE},
        },
        "path": [
            {"root_penalty": x, "loo_r": 0.87, "r": 0.8, "hit1": 0.3, "hit5": None, "chosen": c}
            for x, c in points
        ]
        if ridge
        else [],
    }


def make_relation(name: str = "city-country") -> dict[str, Any]:
    sources, targets = [" Tokyo", *HOSTILE], [" Japan", *HOSTILE]
    links = [{"token": t, "weight": 0.3 - n / 10, "right": n == 0} for n, t in enumerate(targets)]
    size = len(sources)
    return {
        "name": name,
        "family": "attribute",
        "source": {
            "template": "city",
            "text": "{} lives in the <b>city</b> of",
            "columns": 151,
            "answers": 188,
            "dropped": 37,
            "coverage": {"whole": 120, "phrase": 40, "subword": 28},
        },
        "target": {
            "template": "country",
            "text": "{} lives in the country of",
            "columns": 7,
            "answers": 252,
            "dropped": 86,
            "coverage": {"whole": 150, "phrase": 16, "subword": 86},
        },
        "interval": {"of": "mean r", "level": 0.95, "replicates": 400, "rows": 500},
        "unrelated_pair": {"relation": "gem-color", "template": "gem", "text": "{} has the <i>color</i> of"},
        "identity": {"r": 0.31, "r_std": 0.2, "columns": 6},
        "other_prompt": {"relation": "city-food", "template": "food", "text": "{} likes the <i>food</i> of"},
        "warnings": ["only 50 <u>subjects</u> are held out"],
        "fits": [make_fit(fit, targets) for fit in FITS],
        "strongest": [
            {"source": source, "truth": [" Japan"], "by_fit": {"domain": links[:5], "vocabulary-ridge": []}}
            for source in sources
        ],
        "hubs": {
            "domain": {
                "top": 5,
                "sources": 151,
                "targets": 7,
                "expected": 35 / 151,
                "bound": 4,
                "hubs": [{"token": token, "targets": 7 - n, "right": 0} for n, token in enumerate(sources)],
            }
        },
        "heatmap": {
            "fit": "vocabulary-ridge",
            "sources": sources,
            "targets": targets,
            "weights": [[(row - col) / 10 for col in range(size)] for row in range(size)],
            "right": [[row == col for col in range(size)] for row in range(size)],
        },
    }


def make_document(*relations: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": "city-country on <toy>",
        "created": "2026-11-23T20:40:00Z",
        "versions": {"lincorr": "0.1.0"},
        "machine": "2 cores",
        "model": {
            "name": "<toy>",
            "source": "package:toy",
            "revision": None,
            "fingerprint": "abc",
            "dtype": "float32",
            "device": "cpu",
            "head": "linear",
        },
        "store": "runs/x.zarr",
        "seconds": {"extract": 19.1, "fit": 2.5},
        "device_waited": None,
        "subjects": {
            "from": "vocabulary",
            "count": 1000,
            "fit": 500,
            "test": 500,
            "split": "grouped",
            "seed": 0,
            "classes": {"text": 1000},
            "left_out": {},
        },
        "notes": ["a <plain> sentence"],
        "relations": list(relations),
    }


def results(document: dict[str, Any]) -> Results:
    """A document as types; NaN and infinity are unknown."""
    return from_json(Results, to_json(document))


def make_results(*relations: dict[str, Any]) -> Results:
    return results(make_document(*relations))


def scores(relation: dict[str, Any]) -> RelationScores:
    return from_json(RelationScores, to_json(relation))


class Page(HTMLParser):
    """What a page holds: its elements, and the first end tag that closes nothing."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def tags(self, *names: str) -> list[str]:
        return [tag for tag, _ in self.elements if tag in names]

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


PAGES = ("report.html", "city-country.html", "city-country-2.html")


def make_asked(*shares: float) -> list[dict[str, Any]]:
    """What a model says when it is asked in one hostile prompt for each share, the last after examples."""
    rates = {"3": 0.5, "5": 0.75, "of": 40, "chance": CHANCE}
    return [
        {
            "asked": f"{HOSTILE[0]} {{}} is in",
            "examples": [["Ur & <b>", "Iraq"]] if n == len(shares) else [],
            "hits": {
                "influenced target": {"1": share, **rates},
                "influencing source": {"1": 2 * share, **rates},
            },
            "calibrated": {"1": share / 2, **rates},
        }
        for n, share in enumerate(shares, start=1)
    ]
