"""What a store may say of a run: the task. Rights are the user's own."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig, load_config, settings

# A value of every setting that differs from its default.
OTHERS: dict[str, Any] = {
    "model.source": "other",
    "model.revision": "v2",
    "model.adapter": "lora",
    "model.dtype": "float16",
    "model.device": "cuda",
    "model.trust_remote_code": True,
    "model.cache": "elsewhere",
    "relations": ["a"],
    "wordings": "all",
    "catalogue": ["/their.yaml"],
    "source_answers": "/from.txt",
    "target_answers": "/to.txt",
    "multi_token": True,
    "subjects.kind": "strings",
    "subjects.count": 5,
    "subjects.seed": 3,
    "subjects.classes": ["byte"],
    "subjects.file": "/names.txt",
    "subjects.compat": "notebook",
    "subjects.split": "even-odd",
    "store.path": "s3://theirs/run.zarr",
    "store.precision": "float16",
    "store.hidden": True,
    "store.logits": "all",
    "store.shard_rows": 9,
    "cluster.kind": "address",
    "cluster.workers": 3,
    "cluster.minimum": 1,
    "cluster.maximum": 2,
    "cluster.threads": 2,
    "cluster.wait": 3.0,
    "cluster.batch_tokens": 7,
    "cluster.address": "tcp://theirs:8786",
    "cluster.host": "0.0.0.0",
    "cluster.tls": ["theirs"],
    "cluster.hosts": ["theirs"],
    "cluster.gpus": 2,
    "cluster.gpus_per_worker": 2,
    "cluster.pool": "1GB",
    "cluster.protocol": "ucx",
    "cluster.queue": "theirs",
    "cluster.walltime": "01:00:00",
    "cluster.memory": "1GB",
    "cluster.cpus": 2,
    "cluster.directives": ["--wrap=theirs"],
    "cluster.spec": "theirs.yaml",
    "fit.rcond": 0.25,
    "fit.method": "gram",
    "fit.penalty": 0.5,
    "fit.memory": 2.0,
    "fit.device": "cuda",
    "report.folder": "/home/somebody",
    "report.sources": 3,
}
TASK = {
    *("model.source", "model.revision", "model.adapter", "model.dtype"),
    *("relations", "wordings", "catalogue", "source_answers", "target_answers", "multi_token"),
    *(name for name in OTHERS if name.startswith("subjects.")),
    *("fit.rcond", "fit.method", "fit.penalty", "fit.memory"),
}


def of(config: RunConfig, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def in_sections(name: str, value: Any) -> dict[str, Any]:
    section, _, leaf = name.rpartition(".")
    return {section: {leaf: value}} if section else {leaf: value}


@pytest.mark.parametrize("name", settings())
def test_a_store_sets_the_task_and_nothing_else(name):
    remembered = {"model": {"source": "m"}}
    for section, values in in_sections(name, OTHERS[name]).items():
        remembered[section] = {**remembered.get(section, {}), **values} if "." in name else values
    if name in ("subjects.kind", "subjects.file"):  # valid together only
        remembered["subjects"] = {"kind": "strings", "file": "/names.txt"}
    loaded, plain = load_config(None, {}, remembered), load_config(None, {"model.source": "m"})
    assert (of(loaded, name) != of(plain, name)) is (name in TASK)
    if name not in TASK:
        assert loaded == plain


def test_a_section_of_one_word_is_none_of_a_stores():
    remembered = {"model": {"source": "m"}, "store": "s3://theirs/run.zarr"}
    assert load_config(None, {}, remembered).store_url() == "runs/m.zarr"


def test_a_store_remembers_no_right():
    mine = RunConfig(
        model={"source": "m", "trust_remote_code": True, "device": "cpu", "cache": "/mine"},
        fit={"device": "cpu"},
        report={"folder": Path("/mine")},
    )
    assert "mine" not in str(mine.to_remember())
    assert mine.to_remember() == RunConfig(model={"source": "m"}).to_remember()
