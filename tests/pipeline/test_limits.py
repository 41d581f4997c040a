"""Settings of values that nothing can use: refused when they are read."""

import pytest
import yaml

from pipeline.config import load_config


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("store.shard_rows", 10**12),
        ("store.shard_rows", 10**23),
        ("fit.memory", 1e300),
        ("fit.penalty", 1e300),
        ("cluster.workers", 100_000),
        ("cluster.workers", 257),
        ("cluster.maximum", 257),
        ("cluster.threads", 10**9),
        ("cluster.batch_tokens", 10**30),
        ("subjects.seed", 2**64),
        ("report.sources", 10**9),
    ],
)
def test_numbers_have_limits(setting, value, refusal):
    assert f"{setting}: " in refusal("model: m", **{setting.replace(".", "__"): str(value)})


@pytest.mark.parametrize("device", ["banana", "meta", "mps", "cuda:", "cuda:x", "CPU", "cpu\n"])
def test_a_device_that_cannot_be_is_refused(device, refusal):
    assert "it is one of cpu, cuda, cuda:N, or auto" in refusal(
        yaml.safe_dump({"model": {"source": "m", "device": device}})
    )


def test_devices_that_can_be(load):
    for device in ("auto", "cpu", "cuda", "cuda:3"):
        assert load("model: m", model__device=device).model.device == device


@pytest.mark.parametrize("section", ["subjects", "store", "cluster", "fit", "report"])
def test_an_empty_section_leaves_its_defaults(section, load, refusal):
    assert load(f"model: m\n{section}:\n") == load("model: m")
    assert f"{section}: [3] is not a section" in refusal(f"model: m\n{section}: [3]\n")


def test_an_empty_model_is_no_model(refusal):
    assert "model: no model is given" in refusal("model:\n")


@pytest.mark.parametrize(
    ("subjects", "says"),
    [
        ("kind: strings, file: a.txt, count: 50", "subjects.count: subjects.kind strings does not use it"),
        ("kind: tokens, file: a.txt, count: all", "subjects.count: subjects.kind tokens"),
        ("kind: tokens, file: a.txt, classes: [byte]", "subjects.classes: subjects.kind tokens"),
        ("compat: notebook, classes: [byte]", "subjects.classes: subjects.compat notebook"),
    ],
)
def test_settings_of_subjects_that_nothing_uses_are_refused(subjects, says, refusal):
    assert says in refusal(f"model: m\nsubjects: {{{subjects}}}")


def test_another_kind_of_subjects_takes_nothing_from_the_stores():
    remembered = {"model": {"source": "m"}, "subjects": {"kind": "vocabulary", "count": 60}}
    flags = {"subjects.kind": "strings", "subjects.file": "a.txt"}
    assert load_config(None, flags, remembered).subjects.count == 1000


@pytest.mark.parametrize("source", [".", "package:a/b.gguf"])
def test_a_revision_of_what_has_none_is_refused(source, refusal):
    assert "model.revision: " in refusal(f"model: {{source: {source}, revision: v2}}")
