"""Forward passes of a run: each prompt once, and only what is missing."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from lincorr.model.load import release_model, shared_model
from lincorr.testing import CITIES, COUNTRIES
from pipeline.extract.audit import audit_shard
from pipeline.extract.check import check_merging, check_model, check_prompts


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The shapes of all batches that a language model's body is called with, but for checks and audits."""
    shapes: list[tuple[int, int]] = []
    release_model()  # another test's may have the trunk already

    def note(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
        if type(module).__name__ == "LlamaModel":
            ids = args[0] if args else kwargs["input_ids"]
            shapes.append(tuple(ids.shape))

    def unheard(check: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            before = len(shapes)
            found = check(*arguments)
            del shapes[before:]
            return found

        return run

    checks: dict[str, Callable[..., Any]] = {
        "stage.check_model": check_model,
        "stage.check_merging": check_merging,
        "stage.check_prompts": check_prompts,
        "shard.shared_model": shared_model,
        "forward.audit_shard": audit_shard,
    }
    for name, check in checks.items():
        monkeypatch.setattr(f"pipeline.extract.{name}", unheard(check))
    hook = torch.nn.modules.module.register_module_forward_hook(note, with_kwargs=True)
    yield shapes
    hook.remove()


def test_a_first_run_passes_every_prompt_once(run, passes):
    assert run("extract", subjects_count=64)["prompts"] == 2 * 64
    assert passes == [(8, 8)] * 8  # two prompts of 6 tokens, of which the first 4 are one


def test_a_second_run_makes_no_forward_pass(rerun, passes):
    before = rerun.arrays()
    assert rerun("run")["relations"] == rerun.document["relations"]
    assert passes == []
    for name, array in rerun.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("first", [30, 32, 41])
def test_more_subjects_extend_a_store_to_what_it_would_have_been(first, run, finished, passes, counted):
    run("extract", subjects_count=first)
    counted.assert_right()
    passes.clear()
    assert run("extract", subjects_count=100)["prompts"] == 2 * (100 - first)
    full, partial = divmod(first, 32)
    batches = 13 - 4 * full - partial // 8  # 32 + 32 + 32 + 4 subjects in batches of 8
    assert passes == [(8, 8)] * batches
    counted.assert_right()
    extended, at_once = run.arrays(), finished.arrays()
    assert extended.keys() == at_once.keys()
    for name in at_once:
        np.testing.assert_array_equal(extended[name], at_once[name], err_msg=name)


def test_a_store_extended_again_and_again_is_whole(run, finished):
    for count in (5, 12, 33, 34, 100):
        run("extract", subjects_count=count)
    assert run.store.verify() == []
    at_once = finished.arrays()
    for name, array in run.arrays().items():
        np.testing.assert_array_equal(array, at_once[name], err_msg=name)


def test_fewer_subjects_use_what_is_there(rerun, passes):
    document = rerun("run", subjects_count=60)
    assert passes == []
    assert document["subjects"]["count"] == 60
    assert rerun.store.maps.load("toy", "domain").diagnosis.n_rows == 30


def test_other_subjects_are_added_behind(run):
    run("extract", subjects_count=40)
    before = run.subjects()
    made = run("extract", subjects_count=40, subjects_seed=1)["prompts"]
    after = run.subjects()
    assert after[:40] == before
    assert len(set(after)) == len(after)
    assert made == 2 * (len(after) - 40)


def test_another_relation_makes_only_its_own_templates_passes(rerun, passes):
    before = rerun.arrays()
    document = rerun("run", relations="toy,second")
    trunk, batches = [(1, 4)], [(32, 1)] * 4
    assert passes == trunk + batches  # one new template, its beginning once: the subject stands last
    assert [relation["name"] for relation in document["relations"]] == ["toy", "second"]
    after = rerun.arrays()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert after["logits/late"].shape == (100, 10)


def test_a_template_with_the_slot_at_its_end(run, reference):
    assert run("extract", relations="second")["prompts"] == 200
    rest = reference.tokenizer.encode("in the city of")
    right = reference.logits([[*rest, token] for token in run.subjects()])
    ids = [reference.column(word) for word in COUNTRIES]
    np.testing.assert_allclose(run.arrays()["logits/late"], right[:, ids], atol=1e-4)


def test_columns_that_are_not_kept_come_from_hidden_states(rerun, reference, answers):
    rerun("extract", relations="second")
    fitted = rerun("fit", relations="second")["fitted"]
    assert "second/domain" in fitted  # its source has countries, of which template city keeps no logits
    columns = np.array([reference.column(word) for word in (*CITIES[:3], *COUNTRIES[:3])])
    found = rerun.store.logits("city", columns, np.arange(100))
    np.testing.assert_allclose(found, answers["city"][:, columns], atol=1e-4)
