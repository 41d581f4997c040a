"""The spectrum of hidden states side by side, against SciPy's of the explicit matrix."""

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import svdvals
from sklearn import linear_model

from lincorr.store.store import LogitStore
from pipeline.study import spectrum
from pipeline.study.spectrum import spectrum_of
from tests.pipeline.study.planted_study import TEMPLATES, planted_states
from tests.stores import array

MEMORY = 10**9


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("spectrum") / "run.zarr"
    planted_states(found)
    return found


def expected(path: Path, names: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    states = np.concatenate(
        [array(path, f"hidden/{name}")[rows].astype(np.float64) for name in names], axis=1
    )
    return np.asarray(svdvals(states - states.mean(axis=0)))


@pytest.mark.parametrize("subjects", [90, 20])  # more and fewer than the columns
def test_singular_values_are_scipys(path: Path, subjects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "_PANEL", 4)
    monkeypatch.setattr(spectrum, "_BLOCK", 32)
    rows = np.random.default_rng(0).permutation(90)[:subjects]
    found = spectrum_of(LogitStore.open(str(path), write=True), TEMPLATES, rows, MEMORY)
    assert found is not None
    assert [one.templates for one in found.alone] == [(name,) for name in TEMPLATES]
    for one in (found.together, *found.alone):
        values = expected(path, one.templates, rows)
        assert one.count == min(subjects, len(values))
        assert one.numbers[0] == 1
        chosen = np.array(one.numbers) - 1
        assert np.array(one.values) == pytest.approx(values[chosen], abs=1e-6 * values[0])
        assert one.rank_1 == (values > 0.01 * values[0]).sum()
    law = found.together.law
    assert law is not None
    index = np.arange(10, found.together.rank_1 + 1)
    assert (law.first, law.last) == (10, index[-1])
    values = expected(path, TEMPLATES, rows)
    line = linear_model.LinearRegression()
    line.fit(np.log(index)[:, None], np.log(values[index - 1]), sample_weight=1 / index)
    assert law.exponent == pytest.approx(-line.coef_[0])
    assert law.scale == pytest.approx(np.exp(line.intercept_))
    assert law.r2 == pytest.approx(
        line.score(np.log(index)[:, None], np.log(values[index - 1]), sample_weight=1 / index)
    )


def test_more_subjects_than_memory_holds_are_left_out(path: Path) -> None:
    store = LogitStore.open(str(path), write=True)
    found = spectrum_of(store, TEMPLATES, np.arange(90), 8 * 8 * 25**2)
    assert found is not None
    assert (found.rows, found.together.count) == (25, 25)
    assert found.together.values[0] == pytest.approx(expected(path, TEMPLATES, np.arange(25))[0])


def test_it_is_found_once_and_again_for_other_subjects(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LogitStore.open(str(path), write=True)
    found = spectrum_of(store, TEMPLATES, np.arange(50), MEMORY)
    monkeypatch.setattr(spectrum, "_singular_values", None)
    assert spectrum_of(store, TEMPLATES, np.arange(50), MEMORY) == found
    with pytest.raises(TypeError):
        spectrum_of(store, TEMPLATES, np.arange(51), MEMORY)


def test_without_hidden_states_there_is_none(tmp_path: Path) -> None:
    store = planted_states(tmp_path / "run.zarr", hidden=False)[0]
    assert spectrum_of(store, TEMPLATES, np.arange(90), MEMORY) is None
