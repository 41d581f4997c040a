"""A worker whose files of the model, or whose reading of them, are not the plan's."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from lincorr.errors import LincorrError
from lincorr.model.files import ModelSpec
from lincorr.model.fingerprint import Fingerprint, fingerprint_of
from lincorr.prompts.subjects import string_subjects
from pipeline.extract.check import CheckTask, HeadTask, check_merging, check_model, check_prompts, store_head
from pipeline.extract.shard import ExtractTask, extract_shard, require_model


@pytest.mark.parametrize("part", [field.name for field in fields(Fingerprint)])
def test_every_task_refuses_another_model_before_it_does_anything(toy_model: Path, part: str) -> None:
    spec = ModelSpec(str(toy_model))
    planned = fingerprint_of(spec)
    require_model(spec, planned)
    other = replace(planned, **{part: "another"})
    task = CheckTask(spec, other, {}, string_subjects(["a"]), None, None)
    for act in (
        lambda: check_model(task),
        lambda: check_merging(task),
        lambda: check_prompts(task, (), check_model(replace(task, fingerprint=planned))),
        lambda: store_head(HeadTask(spec, other, "no/store")),
        lambda: extract_shard(ExtractTask("no/store", spec, other, (), (), 0, "")),
    ):
        with pytest.raises(LincorrError, match=r"is not the one that the run was planned with"):
            act()
