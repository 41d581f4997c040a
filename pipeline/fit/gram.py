"""Stages of the Gram solver (`lincorr.solvers.gram`)."""

from dataclasses import asdict
from typing import Any

import numpy as np

from lincorr.solvers import gram
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels
from pipeline.fit.reduced import require_rank, run_decomposition
from pipeline.fit.rows import indices
from pipeline.fit.tiles import Done, TileTask, opened, opened_rows, tile_task, wants_gpus
from pipeline.runtime.executor import Executor, Stage

_GROUPS = 16  # leaves of the merge tree at most: fixed, so that the order of the sums is


def decompose_gram(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Run the stages of gram, as far as their moments are missing."""
    n, p = scratch.shape("rows")[1], scratch.shape("source_ids")[1]
    q, block = scratch.shape("target_ids")[1], scratch.facts()["block"]
    groups = min(_GROUPS, -(-n // block))
    for level, count in enumerate(_levels(groups)):
        for k in range(count):
            name = _node(level, k)
            for part, width in (("mean_x", p), ("mean_y", q), ("counts", 2)):
                scratch.create(f"{name}/{part}", (1, width), (1, width))
            scratch.create(f"{name}/xx", (p, p), (p, p))
            scratch.create(f"{name}/xy", (p, q), (p, q))
    scratch.remember(groups=groups)
    for level, count in enumerate(_levels(groups)):
        todo = [
            TileTask(store.url, scratch.url, scratch.begun, level, k)
            for k in range(count)
            if not scratch.has(f"{_node(level, k)}/counts", 0, 0)
        ]
        executor.run(
            Stage("moments", merge_moments if level else sum_moments, todo, on_device=wants_gpus(scratch))
        )
    run_decomposition(executor, store, scratch, decompose_moments)
    scratch.save("target_mean", _load_moments(scratch, *_top(groups)).mean_y)


def _levels(groups: int) -> list[int]:
    """Return how many nodes each level of the merge tree has, leaves first."""
    counts = [groups]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // 2))
    return counts


def _top(groups: int) -> tuple[int, int]:
    return len(_levels(groups)) - 1, 0


def _node(level: int, k: int) -> str:
    return f"moments-{level}-{k}"


def moment_names(scratch: Scratch) -> list[str]:
    """Return the names of all moments in the scratch."""
    groups = scratch.facts().get("groups")
    return [] if groups is None else [_node(i, k) for i, n in enumerate(_levels(groups)) for k in range(n)]


def _load_moments(scratch: Scratch, level: int, k: int) -> gram.Moments:
    node = _node(level, k)
    count, largest = scratch.load_host(f"{node}/counts")[0]
    mean_x, mean_y = (scratch.load(f"{node}/mean_{side}")[0, :] for side in "xy")
    xx, xy = (scratch.load(f"{node}/{part}") for part in ("xx", "xy"))
    return gram.Moments(int(count), mean_x, mean_y, xx, xy, float(largest))


def _save_moments(scratch: Scratch, level: int, k: int, moments: gram.Moments) -> int:
    name = _node(level, k)
    rows = {
        "mean_x": moments.mean_x[None, :],
        "mean_y": moments.mean_y[None, :],
        "xx": moments.xx,
        "xy": moments.xy,
    }
    written = sum(scratch.write(f"{name}/{part}", 0, 0, value) for part, value in rows.items())
    counts = np.array([[moments.count, moments.largest_row]])
    return written + scratch.write(f"{name}/counts", 0, 0, counts)  # the commit


@tile_task
def sum_moments(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Sum the moments of one group of blocks of rows."""
    total = None
    rows, fit_rows = 0, opened_rows(task)
    for i in _blocks_of(scratch, task.j):
        x, y = fit_rows.read(fit_rows.block(i))
        rows += len(x)
        moments = gram.Moments.of(scratch.put(x), scratch.put(y))
        total = moments if total is None else total.merge(moments)
    assert total is not None
    return Done(rows=rows, written=_save_moments(scratch, 0, task.j, total))


def _blocks_of(scratch: Scratch, group: int) -> range:
    """Return the blocks of a group; groups differ by at most one block."""
    facts = scratch.facts()
    blocks = -(-scratch.shape("rows")[1] // facts["block"])
    return range(group * blocks // facts["groups"], (group + 1) * blocks // facts["groups"])


@tile_task
def merge_moments(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Merge two nodes of the level below; an odd last one is passed on as it is."""
    level, k = task.i, task.j
    merged = _load_moments(scratch, level - 1, 2 * k)
    if 2 * k + 1 < _levels(scratch.facts()["groups"])[level - 1]:
        merged = merged.merge(_load_moments(scratch, level - 1, 2 * k + 1))
    return Done(written=_save_moments(scratch, level, k, merged))


def decompose_moments(task: TileTask) -> dict[str, Any]:
    """Decompose the merged moments; return the rank decision."""
    scratch, _ = opened(task)
    facts = scratch.facts()
    found = gram.gram(
        _load_moments(scratch, *_top(facts["groups"])),
        lambda _: [],
        source_ids=indices(scratch, "source_ids"),
        target_ids=indices(scratch, "target_ids"),
        **facts["rank_rule"],
    )
    require_rank(found.cut)
    for name in ("values", "basis", "projected", "source_mean"):
        scratch.save(name, getattr(found, name))
    return {"cut": asdict(found.cut), "residual": found.residual}
