"""Runs of a toy model in this process, and the same answers by the shortest way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import pearsonr
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from tests.commands import flags_of, json_of
from tests.stores import DATA, array, arrays

TEMPLATES = {
    "city": "{} lives in the city of",
    "country": "{} lives in the country of",
    "late": "in the city of {}",
}

RELATIONS = {
    "toy": {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    },
    "second": {
        "source": {"template": "city", "answers": [*CITIES[:3], *COUNTRIES[:3]]},
        "target": {"template": "late", "answers": list(COUNTRIES)},
    },
}

FITS = ["domain", "domain-ridge", "vocabulary", "vocabulary-ridge"]

WIDTH, VOCABULARY = 32, 376


@dataclass
class Runner:
    """Runs verbs on the toy model; `flags` stand for all of them, keywords for one.

    `document` is what the run printed that made the store, if there is one.
    """

    folder: Path
    flags: dict[str, object]
    document: dict[str, Any]

    def __call__(self, verb: str, **changes: object) -> dict[str, Any]:
        settings = self.flags | {name.replace("_", "-"): value for name, value in changes.items()}
        document: dict[str, Any] = json_of(verb, *flags_of(settings))
        return document

    @property
    def store(self) -> LogitStore:
        return LogitStore.open(str(self.flags["store"]))

    @property
    def fits(self) -> dict[str, dict[str, Any]]:
        return {fit["name"]: fit for fit in self.document["relations"][0]["fits"]}

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that forward passes left, read with plain Zarr."""
        return arrays(str(self.flags["store"]), *DATA)

    def subjects(self) -> list[int]:
        return [int(token) for token in array(str(self.flags["store"]), "subjects/id")]


def runner(folder: Path, model: Path) -> Runner:
    catalogue = folder / "toy.yaml"
    catalogue.write_text(yaml.safe_dump({"templates": TEMPLATES, "relations": RELATIONS}))
    flags = {
        "model": model,
        "catalogue": catalogue,
        "relations": "toy",
        "store": folder / "run.zarr",
        "cluster-kind": "serial",
        "subjects-count": 100,
        "subjects-split": "even-odd",
        "store-shard-rows": 32,
        "cluster-batch-tokens": 64,
    }
    return Runner(folder, flags, {})


# An implementation of one's own: one prompt at a time, one column at a time


class Reference:
    """The same answers by the shortest way."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float64) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def column(self, word: str) -> int:
        (token,) = self.tokenizer.encode(" " + word)
        return int(token)

    @torch.inference_mode()
    def logits(self, prompts: list[list[int]]) -> np.ndarray:
        rows = [self.model(torch.tensor([ids])).logits[0, -1] for ids in prompts]
        return torch.stack(rows).double().numpy()

    def after(self, tokens: list[int], text: str) -> np.ndarray:
        """Logits after each token and the text behind it."""
        rest = self.tokenizer.encode(text)
        return self.logits([[token, *rest] for token in tokens])

    def of_texts(self, texts: list[str]) -> np.ndarray:
        return self.logits([self.tokenizer.encode(text) for text in texts])


def mean_r(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(pearsonr(predicted, true, axis=0).statistic))
