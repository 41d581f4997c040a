"""The whole way on a real language model, against Hugging Face, scikit-learn and SciPy by themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.model.files import ModelSpec, locate
from lincorr.store.store import LogitStore
from pipeline.cli.main import main

pytestmark = pytest.mark.real_model

N_SUBJECTS = 200
TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


@pytest.fixture(scope="module")
def run(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run of 200 vocabulary tokens, even rows fitted and odd rows tested as in the reference code."""
    folder = tmp_path_factory.mktemp("end-to-end")
    arguments = ["run", "--model", real_model, "--store", str(folder / "run.zarr")]
    arguments += ["--subjects-count", str(N_SUBJECTS), "--subjects-split", "even-odd"]
    # fewer answers than rows, so that plain least squares is determined
    for side, names in (("source", "Paris London Tokyo Berlin Rome"), ("target", "France Japan Italy")):
        (folder / f"{side}.txt").write_text("\n".join(names.split()))
        arguments += [f"--{side}-answers", str(folder / f"{side}.txt")]
    assert main([*arguments, "--cluster-kind", "serial"]) == 0
    document = json.loads((folder / "run-report" / "report.json").read_text())
    return {"store": LogitStore.open(str(folder / "run.zarr")), "relation": document["relations"][0]}


@pytest.fixture(scope="module")
def own_logits(run: dict[str, Any], real_model: str) -> dict[str, NDArray[np.float32]]:
    """Hugging Face's own logits of every prompt, full vocabulary; all of a template have one length."""
    folder = locate(ModelSpec(real_model))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    suffixes = {
        name: AutoTokenizer.from_pretrained(folder)(text.removeprefix("{}"))["input_ids"]
        for name, text in TEXTS.items()
    }
    ids = run["store"].subjects().ids
    with torch.inference_mode():
        return {
            name: np.concatenate(
                [
                    model(torch.tensor([[x, *end] for x in some]), logits_to_keep=1).logits[:, -1].numpy()
                    for some in np.split(ids, N_SUBJECTS // 25)
                ]
            )
            for name, end in suffixes.items()
        }


@pytest.mark.parametrize("name", TEXTS)
def test_every_logit_is_the_models_own(run: dict[str, Any], own_logits: Any, name: str) -> None:
    store, rows = run["store"], np.arange(N_SUBJECTS)
    kept = store.column_ids(name)
    assert np.abs(store.logits(name, kept, rows) - own_logits[name][:, kept]).max() < 1e-3
    everything = np.arange(store.identity.vocabulary_size)
    assert np.abs(store.logits(name, everything, rows) - own_logits[name]).max() < 1e-3


def test_half_precision_keeps_every_column(
    run: dict[str, Any], own_logits: Any, real_model: str, tmp_path: Path
) -> None:
    """The bounds that docs/store.md states: of stored logits, and of those made of stored hidden states."""
    arguments = ["extract", "--model", real_model, "--store", str(tmp_path / "half.zarr")]
    arguments += ["--subjects-count", str(N_SUBJECTS), "--store-precision", "float16"]
    assert main([*arguments, "--cluster-kind", "serial"]) == 0
    half, rows = LogitStore.open(str(tmp_path / "half.zarr")), np.arange(N_SUBJECTS)
    assert half.subjects().ids.tolist() == run["store"].subjects().ids.tolist()
    everything = np.arange(half.identity.vocabulary_size)
    for name, exact in own_logits.items():
        for ids, bound in ((half.column_ids(name), 0.99999), (everything, 0.99996)):
            kept = half.logits(name, ids, rows).astype(np.float64)
            r = pearsonr(kept, exact[:, ids].astype(np.float64), axis=0).statistic
            assert r.min() > bound
        assert np.median(r) > 0.99999


def test_the_fit_is_scikit_learns_and_the_score_scipys(run: dict[str, Any], own_logits: Any) -> None:
    store = run["store"]
    source, target = (own_logits[name][:, store.column_ids(name)].astype(np.float64) for name in TEXTS)
    by_column = [LinearRegression().fit(source[::2], column) for column in target[::2].T]
    weights = np.stack([model.coef_ for model in by_column], axis=1)
    fitted = store.maps.load("city-country", "domain")
    assert np.linalg.norm(fitted.weights - weights) < 1e-4 * np.linalg.norm(weights)
    predicted = np.stack([model.predict(source[1::2]) for model in by_column], axis=1)
    expected = pearsonr(predicted, target[1::2], axis=0).statistic
    found = next(fit for fit in run["relation"]["fits"] if fit["name"] == "domain")
    assert [r["r"] for r in found["r_by_target"]] == pytest.approx(expected, abs=1e-5)
    assert found["r"] == pytest.approx(expected.mean(), abs=1e-5)


def test_the_reading_penalty_predicts_nearly_as_well_as_any(run: dict[str, Any]) -> None:
    """100 rows and 49,152 columns: chosen by leave-one-out, without the held-out rows."""
    by_name = {fit["name"]: fit for fit in run["relation"]["fits"]}
    assert by_name["vocabulary"]["rank"] == 99
    best = max(point["r"] for point in by_name["vocabulary-ridge"]["path"])
    assert best - 0.03 < by_name["vocabulary-ridge"]["r"] <= best
