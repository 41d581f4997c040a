"""A study of the toy model, and its data read with plain Zarr."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr

from lincorr.prompts.subjects import split_rows
from lincorr.scores.experiments import EditScores
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, toy_relation
from pipeline.evaluate.experiments import cached_experiment, edit_name
from pipeline.report import tables as exports
from tests.commands import json_of
from tests.scores import edit_scores_of
from tests.stores import array

FAMILY = "<b>food</b> & more"

COUNTS = (60, 90)

SUBJECTS = 120

CATALOGUE: dict[str, Any] = {
    "templates": {
        "home": "{} lives in the city of",
        "land": "{} lives in the country of",
        "late": "in the city of {}",
        "dish": "{} eats the bread of",
        "taste": "{} likes the taste of",
    },
    "paraphrases": {"home": ["{} is in the city of"]},
    "relations": {
        "home-land": toy_relation("home", "land"),
        "home-late": {
            "family": "places",
            "source": {"template": "home", "answers": list(CITIES[:8])},
            "target": {"template": "late", "answers": list(CITIES[:7])},
        },
        "dish-taste": {
            "family": FAMILY,
            "source": {"template": "dish", "answers": list(CITIES[:6])},
            "target": {"template": "taste", "answers": list(CITIES[6:])},
        },
    },
}

RELATIONS = [*CATALOGUE["relations"], "home-land.2"]


@dataclass
class Study:
    """A finished study, and its data read with plain Zarr."""

    folder: Path
    flags: list[str]
    document: dict[str, Any]

    def __call__(self, *more: str) -> dict[str, Any]:
        """Study again, with more flags; without a report, which takes longer than all the rest."""
        return study_alone([*self.flags, *more])

    @property
    def store(self) -> LogitStore:
        return LogitStore.open(str(self.folder / "run.zarr"))

    def array(self, name: str) -> np.ndarray:
        found = array(self.folder / "run.zarr", name)
        return found if name.startswith("columns") else found.astype(np.float64)

    def rows(self, count: int = SUBJECTS) -> tuple[np.ndarray, np.ndarray]:
        """Fit rows among the first `count` subjects, and all held-out rows."""
        texts = self.store.subjects().texts
        fit, test = split_rows(texts, "grouped", seed=0)
        return fit[fit < count], test

    def logits(self, template: str, words: tuple[str, ...]) -> np.ndarray:
        """Logits of words, made from hidden states and head."""
        hidden = self.array(f"hidden/{template}")
        return np.asarray(hidden @ self.array("head/weight")[self.ids(template, words)].T)

    def ids(self, template: str, words: tuple[str, ...]) -> np.ndarray:
        texts = [str(text) for text in self.array(f"columns/{template}/text")]
        ids = self.array(f"columns/{template}/id")
        return np.array([ids[texts.index(" " + word)] for word in words])


def run_study(flags: list[str]) -> dict[str, Any]:
    document: dict[str, Any] = json_of("study", *flags)
    return document


def study_alone(flags: list[str]) -> dict[str, Any]:
    """Study without writing pages, plots and tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "write_results", lambda _, folder: folder / "report.html")
        return run_study(flags)


def keep_edits(store: LogitStore) -> None:
    """Keep what `lincorr edit` would; the second relation has no truth."""
    for name, success in (("home-land", 0.5), ("home-late", 0.25)):
        edits = edit_scores_of(name, success)
        cached_experiment(store, edit_name(name), EditScores, ["inputs"], partial(replace, edits))


def mean_r(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([pearsonr(p, t).statistic for p, t in zip(predicted.T, true.T, strict=True)]))
