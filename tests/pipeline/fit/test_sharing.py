"""Which relations workers fit and evaluate, and how they are cut into tasks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.relations.relation import Relation, Side, Template
from lincorr.solvers.choose import Choice
from pipeline.config import ClusterSettings
from pipeline.fit import sharing
from pipeline.fit.by_source import by_source, dealt_out
from pipeline.fit.inputs import FitInputs
from pipeline.fit.sharing import Apart, apart
from pipeline.plan.costs import Cost, FitSizes
from pipeline.prepare.relations import RelationInputs
from pipeline.runtime.clusters import gpus
from tests.pipeline.fit.relations import columns

ROWS = np.arange(4)
MEMORY = 12 * 10**9
SIZES = FitSizes(2, 2, 3, 3, 3, 3, 8, 16, 4, 4, hidden=True)


def relation(name: str, source: str) -> FitInputs:
    one, other = (Side(Template(attribute, f"{{}} {attribute}"), ()) for attribute in (source, "target"))
    inputs = RelationInputs(Relation(name, "test", one, other, ()), columns(3), columns(3), {})
    choice = Choice("direct", "", 10**9)
    return FitInputs(
        inputs, ROWS, ROWS, {"domain": choice}, 16, None, memory_bytes=MEMORY, sizes={"domain": SIZES}
    )


MANY = [relation(f"{i}", source) for i, source in enumerate("aaabbc")]


def hours(*_: object) -> Cost:
    return Cost(products=1e18)


def held(_: FitSizes, choice: Choice) -> int:
    return choice.worker_bytes


GPUS = ClusterSettings(kind="gpus")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs, and memory for some workers."""
    monkeypatch.setattr(gpus, "count_gpus", lambda settings: settings.workers or 4)
    monkeypatch.setattr(sharing, "available_bytes", lambda: 2 * MEMORY)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(1, 9))
def test_tasks_have_one_source_each_and_no_more_than_a_share(sources: list[str], workers: int) -> None:
    relations = [relation(str(i), source) for i, source in enumerate(sources)]
    tasks = dealt_out(relations, workers)
    names = [one.relation.name for task in tasks for one in task]
    assert sorted(names) == sorted(one.relation.name for one in relations)
    assert all(len({one.source_template for one in task}) == 1 for task in tasks)
    sizes = [len(task) for task in tasks]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= -(-len(relations) // workers)
    if workers == 1:
        assert len(tasks) == len(set(sources)) == len(by_source(relations))


def test_workers_take_what_takes_long_and_share_the_memory(machine: None) -> None:
    found = apart(MANY, hours, held, GPUS)
    assert [one.relation.name for one in found.relations] == [one.relation.name for one in MANY]
    assert {one.memory_bytes for one in found.relations} == {MEMORY // 4}
    assert found.worker_bytes == 10**9
    assert found.others([*MANY, relation("other", "a")])[0].relation.name == "other"


def test_workers_elsewhere_have_memory_of_their_own(machine: None) -> None:
    found = apart(MANY, hours, held, ClusterSettings(kind="address", address="tcp://a:1"))
    assert {one.memory_bytes for one in found.relations} == {MEMORY}


@pytest.mark.parametrize(
    ("relations", "operations", "cluster"),
    [
        (MANY, 1e3, GPUS),
        (MANY[:3], 1e18, GPUS),
        (MANY, 1e18, ClusterSettings(kind="serial")),
        (MANY, 1e18, ClusterSettings(workers=2)),
        (MANY, 1e18, ClusterSettings(kind="gpus", workers=1)),
        ([], 1e18, GPUS),
    ],
    ids=["quick", "one source", "serial", "local", "one GPU", "nothing"],
)
def test_everything_else_is_done_here(
    relations: list[FitInputs], operations: float, cluster: ClusterSettings, machine: None
) -> None:
    found = apart(relations, lambda *_: Cost(products=operations), held, cluster)
    assert found == Apart()
    assert found.others(relations) == relations


def test_no_more_workers_than_memory_holds(machine: None) -> None:
    large = [replace(one, choices={"domain": Choice("direct", "", MEMORY)}) for one in MANY]
    assert apart(large, hours, held, GPUS) == Apart()


def test_a_machine_without_gpus_fits_what_a_run_on_gpus_extracted(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: ClusterSettings) -> int:
        raise BadInput("cluster.kind: no NVIDIA GPU is visible")

    monkeypatch.setattr(gpus, "count_gpus", none)
    assert apart(MANY, hours, held, GPUS) == Apart()


def test_what_is_out_of_core_has_no_less_memory(machine: None) -> None:
    """Its shuffled and other targets are controls only where their rows fit into memory."""
    wide = [replace(relation(f"wide {one}", one), choices={"domain": Choice("lowrank", "")}) for one in "ab"]
    assert apart([*wide, *MANY], hours, held, GPUS).others([*wide, *MANY]) == wide
    assert apart([*wide, *MANY[:3]], hours, held, GPUS) == Apart()
    elsewhere = apart(wide, hours, held, ClusterSettings(kind="address", address="tcp://a:1"))
    assert elsewhere.relations == tuple(wide)
