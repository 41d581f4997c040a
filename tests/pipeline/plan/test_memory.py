"""What a worker may hold: `fit.memory`, its default, and what shares it."""

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings, FitSettings
from pipeline.plan.costs import FIT_LIBRARY_BYTES
from pipeline.plan.memory import (
    fit_memory,
    held_out_rows,
    holds_square,
    memory_note,
    most_column_blocks,
    tiles_of_a_sweep,
)
from pipeline.runtime import machine

SLURM = {"kind": "slurm", "memory": "64GB"}


@pytest.fixture(autouse=True)
def _available(monkeypatch, tmp_path):
    """This machine has 10 GB, and no control groups."""
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10**10})())


def test_fit_memory_is_of_the_whole_worker():
    asked = FitSettings(memory=4.0)
    assert fit_memory(asked) == 4 * 10**9 - FIT_LIBRARY_BYTES
    assert fit_memory(asked, ClusterSettings(**SLURM), host_bytes=1) == fit_memory(asked)


@pytest.mark.parametrize("kind", ["local", "serial", "gpus", "address", "ssh", "kubernetes"])
def test_the_default_is_half_of_what_is_available(kind):
    assert fit_memory(FitSettings()) == 5 * 10**9
    assert fit_memory(FitSettings(), ClusterSettings(kind=kind)) == 5 * 10**9


@pytest.mark.parametrize(
    ("memory", "gpus", "whole"),
    [
        ("64GB", None, 64 * 10**9),
        ("64GB", 4, 16 * 10**9),
        ("64 GiB", None, 64 * 2**30),
        ("1.5t", None, 1.5 * 10**12),
        ("9000000000", None, 9 * 10**9),
    ],
)
def test_the_default_of_a_job_is_a_workers_share_of_it(memory, gpus, whole):
    cluster = ClusterSettings(kind="slurm", memory=memory, gpus=gpus)
    assert fit_memory(FitSettings(), cluster) == whole - FIT_LIBRARY_BYTES


def test_the_default_on_a_host_that_is_estimated_is_half_of_it():
    assert fit_memory(FitSettings(), ClusterSettings(**SLURM), host_bytes=10**12) == 5 * 10**11


@pytest.mark.parametrize("kind", ["address", "ssh", "kubernetes"])
def test_a_plan_says_that_the_memory_of_other_machines_is_not_known(kind):
    assert f"cluster.kind {kind} may hold half of the memory" in str(
        memory_note(FitSettings(), ClusterSettings(kind=kind))
    )
    assert memory_note(FitSettings(memory=4.0), ClusterSettings(kind=kind)) is None


@pytest.mark.parametrize("cluster", [{"kind": "local"}, {"kind": "gpus"}, SLURM])
def test_a_plan_says_nothing_of_memory_that_is_known(cluster):
    assert memory_note(FitSettings(), ClusterSettings(**cluster)) is None


@pytest.mark.parametrize(
    ("fit", "cluster", "line"),
    [
        ({"memory": 0.35}, {}, "fit.memory: 0.35 GB is what a worker's libraries take; give it 0.7 or more"),
        ({}, {"memory": "0.3GB"}, "cluster.memory: 0.3 GB is what a worker's libraries take"),
        ({}, {"memory": "much"}, "cluster.memory: 'much' is not a size; write it as 64GB"),
    ],
)
def test_too_little_memory_is_refused(fit, cluster, line):
    with pytest.raises(BadInput) as refused:
        fit_memory(FitSettings(**fit), ClusterSettings(**(SLURM | cluster)))
    assert line in str(refused.value)


@given(tile=st.integers(1, 500), tiles=st.integers(1, 30), memory=st.integers(1, 10**9))
def test_column_blocks_of_w_fit_beside_eight_tiles(tile, tiles, memory):
    blocks = most_column_blocks(tile, tiles, memory)
    assert blocks >= 1
    if blocks > 1:
        assert 8 * tile**2 * (blocks * tiles + 8) <= memory
    assert 8 * tile**2 * ((blocks + 1) * tiles + 8) > memory


@given(tile=st.integers(1, 500), tiles=st.integers(1, 30), blocks=st.integers(0, 5))
def test_a_triangle_is_held_from_the_bytes_that_it_takes(tile, tiles, blocks):
    needed = 8 * tile**2 * (tiles * (tiles + 1) // 2 + tiles * blocks + 8)
    assert holds_square(tile, tiles, blocks, needed)
    assert not holds_square(tile, tiles, blocks, needed - 1)


def test_a_sweep_holds_its_rows_or_a_mirrored_tile_beside_its_sums():
    tile = 8 * 32**2
    assert tiles_of_a_sweep(32, 96, 40, reading=5 * tile, memory_bytes=8 * tile) == 3
    assert tiles_of_a_sweep(32, 96, 40, reading=0, memory_bytes=8 * tile) == 6


def test_held_out_rows_are_blocks_of_4096_at_most_and_64_at_least():
    assert held_out_rows(None, 1) == 4096
    assert held_out_rows(1000, 64 * 1000 * 500) == 500
    assert (held_out_rows(10, 10**9), held_out_rows(10**6, 10**6)) == (4096, 64)
