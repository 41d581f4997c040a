"""Copies of the model that tasks ask: one in memory."""

import gc
import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest

from lincorr.model.files import ModelSpec
from lincorr.model.language_model import LanguageModel
from lincorr.model.load import load_model
from lincorr.testing import toy_relation
from pipeline.cli.main import main
from pipeline.experiments import copies
from tests.pipeline.experiments.finished import finished_run


@dataclass(frozen=True)
class Asked:
    """Options of a task that needs the model as it is."""

    name: str

    def on(self, model: LanguageModel) -> LanguageModel:
        return model


def test_a_copy_is_let_go_before_another_is_loaded(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(str(toy_model), device="cpu")
    first = weakref.ref(copies.on_copy(spec, Asked("one"))[0])

    def loading(wanted: ModelSpec) -> LanguageModel:
        gc.collect()
        assert first() is None
        return load_model(wanted)

    monkeypatch.setattr(copies, "load_model", loading)
    assert copies.on_copy(spec, Asked("another"))[0] is not None
    copies.on_copy.cache_clear()


def test_a_worker_that_lives_on_sees_that_the_store_has_grown(
    toy_model: Path, tmp_path: Path, blank_plots: None
) -> None:
    flags = finished_run(tmp_path, toy_model, {"toy": toy_relation("city", "country")}, "toy")
    ask = ["gradients", *flags, "--subjects", "6", "--targets", "2", "--entries", "100"]
    assert main(ask) == 0
    more = ["--subjects-count", "90"]
    assert main(["run", *flags, *more, "--json"]) == 0
    assert main([*ask, *more]) == 0
