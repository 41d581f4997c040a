"""Relations that workers fit and evaluate: the same maps and scores as in this process."""

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lincorr.errors import LincorrError
from lincorr.store.hierarchy import Hierarchy
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.fit import on_workers, sharing
from pipeline.run import Run
from pipeline.runtime.executor import Serial
from pipeline.runtime.tally import Tally
from tests.commands import flags_of
from tests.lincorr.store.small_store import flip_a_bit
from tests.pipeline.run.runner import FITS, RELATIONS, TEMPLATES, Runner, runner
from tests.plots import blank_plots
from tests.processes import worker_processes
from tests.stores import arrays

MORE = {
    "back": {
        "source": {"template": "country", "answers": list(COUNTRIES)},
        "target": {"template": "city", "answers": list(CITIES)},
        "truth": [list(pair) for pair in zip(COUNTRIES, CITIES, strict=True)],
    },
    "third": {
        "source": {"template": "late", "answers": list(CITIES[:5])},
        "target": {"template": "country", "answers": list(COUNTRIES)},
    },
}
NAMES = [*RELATIONS, *MORE]


def with_relations(run: Runner) -> Runner:
    """Four relations from three source prompts."""
    path = run.folder / "toy.yaml"
    path.write_text(yaml.safe_dump({"templates": TEMPLATES, "relations": RELATIONS | MORE}))
    run.flags["relations"] = ",".join(NAMES)
    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    """A whole run in one process, only to be read."""
    run = with_relations(runner(tmp_path_factory.mktemp("alone"), toy_model))
    with blank_plots():
        run.document = run("run")
    return run


def copied(run: Runner, finished: Runner, without: Sequence[str] = ()) -> Runner:
    """Runs in a folder with the store of a finished one, less some parts."""
    run = with_relations(run)
    shutil.copytree(finished.folder / "run.zarr", run.folder / "run.zarr")
    for part in without:
        shutil.rmtree(run.folder / "run.zarr" / part)
    return run


@pytest.fixture
def shared(run: Runner, alone: Runner, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """What that run extracted, and two workers, for which nothing is too little."""
    run = copied(run, alone, without=("maps", "scores"))
    run.flags |= {"cluster-kind": "local", "cluster-workers": 2}
    monkeypatch.setattr(sharing, "WORTH_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ("serial",))
    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What workers were started for."""
    found, start = [], Run.executor_for

    def counted(run: Run, apart: sharing.Apart, doing: str) -> Any:
        found.append(f"{doing} {len(apart.relations)}")
        return start(run, apart, doing)

    monkeypatch.setattr(Run, "executor_for", counted)
    return found


def maps(run: Runner) -> dict[str, np.ndarray]:
    return arrays(str(run.flags["store"]), "maps")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from leaves(part, f"{path}/{key}")
    else:
        yield path, value


def assert_same_scores(found: dict[str, Any], right: dict[str, Any]) -> None:
    """All of the relations' scores, but for the last digits: threads add in another order."""
    (paths, values), (names, expected) = (
        zip(*leaves(document["relations"]), strict=True) for document in (found, right)
    )
    assert paths == names
    for path, value, wanted in zip(paths, values, expected, strict=True):
        assert value == (
            pytest.approx(wanted, rel=1e-5, abs=1e-8) if isinstance(wanted, float) else wanted
        ), path


def test_maps_and_scores_are_those_of_one_process(shared: Runner, alone: Runner, started: list[str]) -> None:
    fitted = shared("fit")
    assert started == ["Fitting 4"]
    assert sorted(fitted["fitted"]) == sorted(f"{name}/{fit}" for name in NAMES for fit in FITS)
    found, right = maps(shared), maps(alone)
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, err_msg=name)
    document = shared("evaluate")
    assert started == ["Fitting 4", "Evaluating 4"]
    assert_same_scores(document, alone.document)
    again = shared("evaluate")  # all scores are there: no worker is started
    assert started == ["Fitting 4", "Evaluating 4"]
    assert again["relations"] == document["relations"]


def test_a_worker_that_is_killed_has_its_relations_done_elsewhere(shared: Runner, alone: Runner) -> None:
    killed: list[int] = []
    beginning = shared.folder / "run.zarr" / "maps"

    def kill_at_the_first_map() -> None:
        deadline = time.monotonic() + 60
        while not beginning.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for worker in worker_processes():  # all: one of them is at it
            worker.kill()
            killed.append(worker.pid)

    thread = threading.Thread(target=kill_at_the_first_map)
    thread.start()
    shared("fit")
    thread.join()
    assert killed
    assert maps(shared).keys() == maps(alone).keys()
    assert_same_scores(shared("evaluate"), alone.document)


def test_what_a_task_stored_before_its_worker_died_is_named(
    run: Runner, alone: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try finds it, and fits nothing."""
    run = copied(run, alone, without=("maps/toy", "maps/back"))
    monkeypatch.setattr(sharing, "WORTH_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ())
    fit_task = on_workers.fit_task

    def twice(*task: Any) -> Any:
        fit_task(*task)
        return fit_task(*task)

    monkeypatch.setattr(on_workers, "fit_task", twice)
    assert run("fit")["fitted"] == [f"{name}/{fit}" for name in ("toy", "back") for fit in FITS]


def test_damage_that_a_worker_finds_is_one_line(shared: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_bit(shared.folder / "run.zarr" / "hidden" / "late" / "c" / "0" / "0")
    assert main(["fit", *flags_of(shared.flags)]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert "late" in lines[-1]
    assert "damaged" in lines[-1]
    assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize("changes", [{"cluster-kind": "serial"}, {"relations": "toy,second"}])
def test_one_worker_or_one_source_is_done_here(
    changes: dict[str, str], shared: Runner, started: list[str]
) -> None:
    shared.flags |= changes
    shared.flags.pop("cluster-workers")
    shared("fit")
    assert started == []


@pytest.mark.parametrize(("verb", "part"), [("fit", "maps"), ("evaluate", "scores")])
@pytest.mark.parametrize("next_runs", ["serial", "local"])
def test_relations_of_a_run_that_has_ended_are_not_written(
    next_runs: str, verb: str, part: str, run: Runner, alone: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster's worker goes on with a task when its run was interrupted; the next may be one process."""
    run = copied(run, alone, without=(part,))
    monkeypatch.setattr(sharing, "WORTH_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ())
    module = import_module(f"pipeline.{verb}.on_workers")
    late: list[Any] = []

    def interrupted(task: Any, _: object = None) -> None:
        late.append(task)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, f"{verb}_task", interrupted)
        assert main([verb, *flags_of(run.flags)]) == 130
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ("serial",) if next_runs == "serial" else ())
    run(verb)
    shutil.rmtree(run.folder / "run.zarr" / part / late[0].key)
    before = sorted((run.folder / "run.zarr" / part).rglob("*"))
    with pytest.raises(LincorrError, match="this task's run has ended"):
        getattr(module, f"{verb}_task")(late[0])
    assert sorted((run.folder / "run.zarr" / part).rglob("*")) == before


@pytest.mark.parametrize(("verb", "part"), [("fit", "maps"), ("evaluate", "scores")])
def test_progress_counts_every_relation_of_a_task(
    verb: str, part: str, run: Runner, alone: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two relations of one source prompt are a task of one worker."""
    run = copied(run, alone, without=(part,))
    monkeypatch.setattr(sharing, "WORTH_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ())
    heard: list[dict[str, int]] = []
    tallies: list[Tally] = []

    def under_way(tally: Tally, steps: dict[str, int]) -> None:
        heard.append(dict(steps))
        tallies.append(tally)

    monkeypatch.setattr(Tally, "under_way", under_way)
    run(verb)
    assert heard == [{"toy": 1}, {"toy": 2}, {"back": 1}, {"third": 1}]
    assert {(tally.done, tally.total) for tally in tallies} == {(4, 4)}


@pytest.mark.parametrize(("device", "needs_gpu"), [("auto", True), ("cpu", False)])
@pytest.mark.parametrize(("verb", "part"), [("fit", "maps"), ("evaluate", "scores")])
def test_workers_without_a_gpu_take_part_where_none_is_wanted(
    verb: str,
    part: str,
    device: str,
    needs_gpu: bool,
    run: Runner,
    alone: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = copied(run, alone, without=(part,))
    monkeypatch.setattr(sharing, "WORTH_WORKERS_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ())
    found: list[bool] = []
    plain = Serial.run

    def noted(executor: Serial, stage: Any, *more: Any) -> Any:
        found.append(stage.on_device)
        return plain(executor, stage, *more)

    monkeypatch.setattr(Serial, "run", noted)
    run(verb, fit_device=device)
    assert found == [needs_gpu]


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_what_is_missing_is_found_with_one_look_at_the_records(
    verb: str, run: Runner, alone: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look has an object store read a record for each shard."""
    run = copied(run, alone)
    looked: list[str] = []
    before: list[list[str]] = []
    array, choose = Hierarchy.array, sharing.apart

    def counted(hierarchy: Hierarchy, key: str) -> Any:
        looked.append(key)
        return array(hierarchy, key)

    def chosen(*arguments: Any) -> sharing.Apart:
        before.append([key for key in looked if key.startswith("done/")])
        return choose(*arguments)

    monkeypatch.setattr(Hierarchy, "array", counted)
    monkeypatch.setattr(sharing, "_ONE_PROCESS", ())
    for room in ("fit", "evaluate"):
        monkeypatch.setattr(f"pipeline.{room}.on_workers.apart", chosen)
    run(verb)
    assert [sorted(keys) for keys in before] == [[f"done/{name}" for name in sorted(TEMPLATES)]]


def test_a_damaged_description_of_the_maps_stops_no_fit(rerun: Runner) -> None:
    description = rerun.folder / "run.zarr" / "maps" / "zarr.json"
    description.write_text("{")
    shutil.rmtree(description.parent / "toy" / "domain")
    assert rerun("fit")["fitted"] == ["toy/domain", "toy/domain-ridge"]
    assert "turn" in json.loads(description.read_text())["attributes"]
