"""A worker whose files of the model, or whose reading of them, are not the plan's."""

import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from lincorr.errors import LincorrError
from lincorr.model.checks import Check
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint, fingerprint_of
from lincorr.prompts.subjects import string_subjects
from pipeline.extract.check import CheckTask, HeadTask, check_merging, check_model, check_prompts, store_head
from pipeline.extract.shard import ExtractTask, extract_shard, require_model
from pipeline.extract.stage import _checked
from pipeline.runtime.executor import Serial, ignore


@pytest.mark.parametrize("part", [field.name for field in fields(Fingerprint)])
def test_every_task_refuses_another_model_before_it_does_anything(toy_model: Path, part: str) -> None:
    spec = ModelSpec(str(toy_model))
    planned = fingerprint_of(spec)
    require_model(spec, planned)
    other = replace(planned, **{part: "another"})
    task = CheckTask(spec, other, {}, string_subjects(["a"]), None, None)
    nothing: Any = None
    for act in (
        lambda: check_model(task),
        lambda: check_merging(task),
        lambda: check_prompts(task, (), nothing),
        lambda: store_head(HeadTask(spec, other, "no/store")),
        lambda: extract_shard(ExtractTask("no/store", spec, other, (), (), 0, 0, "")),
    ):
        with pytest.raises(LincorrError, match=r"is not the one that the run was planned with"):
            act()


class Noting(Serial):
    """Runs a stage's tasks as a worker would get them, and notes how many there are at once."""

    def __init__(self) -> None:
        self.tasks: list[int] = []

    def run(self, stage: Any, on_result: Any = ignore) -> list[Any]:
        self.tasks.append(len(stage.tasks))
        return super().run(replace(stage, tasks=pickle.loads(pickle.dumps(stage.tasks))), on_result)


def test_two_workers_share_the_checks(toy_model: Path) -> None:
    spec, executor = ModelSpec(str(toy_model)), Noting()
    templates = {"city": "{} lives in the city of", "country": "{} lives in the country of"}
    task = CheckTask(spec, fingerprint_of(spec), templates, string_subjects(["a", "bc"]), 64, 4)
    found = _checked(executor, task)
    assert (executor.tasks, found.passes, found.linear) == ([2, 1], "trunk", True)


def test_without_a_way_from_states_to_logits_no_prompts_are_tried(toy_model: Path, monkeypatch: Any) -> None:
    spec, executor = ModelSpec(str(toy_model)), Noting()
    monkeypatch.setattr("pipeline.extract.check.check_readout", lambda _: Check(1.0, 0.0))
    found = _checked(executor, CheckTask(spec, fingerprint_of(spec), {}, string_subjects(["a"]), 64, 4))
    assert (executor.tasks, found.passes, found.linear, found.ends_only) == ([2], "whole", False, False)
