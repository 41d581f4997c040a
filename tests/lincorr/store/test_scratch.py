"""A scratch keeps exactly what was written, knows what is missing, and forgets other inputs' tiles."""

import itertools
import os
import shutil
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import pytest

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.store.locations import _Explained
from lincorr.store.scratch import Scratch


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "scratch")


@pytest.fixture
def scratch(url: str) -> Scratch:
    made = Scratch.begin(url, "these inputs")
    made.create("G", (5, 7), (2, 3))
    return made


def test_tiles_are_what_was_written_and_make_up_the_matrix(scratch):
    whole = np.random.default_rng(0).standard_normal((5, 7))
    assert scratch.tiles("G") == (3, 3)
    for i in range(3):
        for j in range(3):
            assert not scratch.has("G", i, j)
            scratch.write("G", i, j, whole[2 * i : 2 * i + 2, 3 * j : 3 * j + 3])
            assert scratch.has("G", i, j)
    np.testing.assert_array_equal(scratch.read("G", 2, 2), whole[4:, 6:])
    np.testing.assert_array_equal(scratch.load("G"), whole)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_tiles_that_are_read_ahead_come_in_order(scratch, count):
    for i in range(3):
        scratch.write("G", i, 0, np.full((1 if i == 2 else 2, 3), float(i)))
    places = [(2, 0), (0, 0), (1, 0)][:count]
    assert [tile[0, 0] for tile in scratch.read_ahead("G", places)] == [i for i, _ in places]


def test_a_tile_that_is_missing_is_refused_when_its_turn_comes(scratch):
    scratch.write("G", 0, 0, np.ones((2, 3)))
    tiles = scratch.read_ahead("G", [(0, 0), (1, 0)])
    assert next(tiles).sum() == 6
    with pytest.raises(StoreDamaged, match=r"tile \(1, 0\) of 'G' in .* is missing"):
        next(tiles)


class Place:
    """A place on a device, as a set of those in use sees it."""

    used: ClassVar[WeakSet["Place"]] = WeakSet()

    def __init__(self, shape: tuple[int, int], dtype: Any, kind: str) -> None:
        self.shape, self.dtype = shape, dtype
        self.used.add(self)

    def fill(self, host: Any) -> "Place":
        assert (host.shape, host.dtype) == (self.shape, self.dtype)
        return self


@pytest.mark.parametrize("across", [1, 2])
def test_few_tiles_are_on_the_device_while_they_are_read_ahead(scratch, monkeypatch, across):
    """That in use until the next is asked for, the next, and a place for another."""
    monkeypatch.setattr("lincorr.store.scratch.Landing", Place)
    for i in range(3):
        for j in range(2):
            scratch.write("G", i, j, np.ones((1 if i == 2 else 2, 3)))
    most = []
    for _row in scratch.rows_ahead("G", [0, 1, 2, 0, 1, 2], range(across)):
        most.append(len(Place.used))
    del _row
    for _tile in scratch.read_ahead("G", [(0, 0), (1, 0), (2, 0), (0, 0)]):
        most.append(len(Place.used))
    assert max(most[:6]) <= 3 * across
    assert max(most[6:]) <= 3
    del _tile
    assert not Place.used


def test_a_tile_is_written_while_the_next_is_made(scratch, monkeypatch):
    write = Scratch.write
    begun, made = ([threading.Event() for _ in range(4)] for _ in range(2))

    def slow(self, name, i, j, tile):
        begun[i].set()
        assert made[i + 1].wait(10)  # though this one is not written yet
        return write(self, name, i, j, tile)

    def tiles():
        for i in range(3):
            assert i == 0 or begun[i - 1].wait(10)
            assert i < 2 or scratch.has("G", i - 2, 0)  # no more than two are held
            made[i].set()
            yield "G", i, 0, np.full((1 if i == 2 else 2, 3), float(i))
        made[3].set()

    monkeypatch.setattr(Scratch, "write", slow)
    assert scratch.write_behind(tiles()) == 8 * 5 * 3
    assert [scratch.read("G", i, 0)[0, 0] for i in range(3)] == [0, 1, 2]


def test_a_tile_is_one_file(scratch, url):
    scratch.write("G", 0, 1, np.ones((2, 3)))
    assert [p.relative_to(url).as_posix() for p in Path(url).glob("G/c/*/*")] == ["G/c/0/1"]


def test_zeros_are_written_too(scratch):
    scratch.write("G", 0, 0, np.zeros((2, 3)))
    assert scratch.has("G", 0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(scratch, value):
    with pytest.raises(LincorrError, match=r"tile \(0, 1\) of 'G' has values that are not finite"):
        scratch.write("G", 0, 1, np.full((2, 3), value))
    assert not scratch.has("G", 0, 1)


def test_a_missing_tile_is_refused(scratch):
    with pytest.raises(
        StoreDamaged, match=r"tile \(1, 1\) of 'G' in .* is missing; delete this folder and run `lincorr fit`"
    ):
        scratch.read("G", 1, 1)
    with pytest.raises(StoreDamaged, match=r"'H' in .* is missing"):
        scratch.read("H", 0, 0)
    assert not scratch.has("H", 0, 0)


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_tile_is_refused(scratch, url, damage):
    scratch.write("G", 0, 0, np.ones((2, 3)))
    path = Path(url) / "G/c/0/0"
    if damage == "truncate":
        os.truncate(path, 9)
    else:
        content = bytearray(path.read_bytes())
        content[11] ^= 1
        path.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"tile \(0, 0\) of 'G' .* is damaged .*delete this folder"):
        scratch.read("G", 0, 0)


@pytest.mark.parametrize(
    "act",
    [
        lambda scratch: scratch.has("G", 0, 0),
        lambda scratch: scratch.create("G", (5, 7), (2, 3)),
        lambda scratch: scratch.read("G", 0, 0),
        lambda scratch: scratch.discard("G"),
    ],
    ids=["has", "create", "read", "discard"],
)
def test_a_damaged_description_is_refused(scratch, url, act):
    """As a disk may leave it whose power failed."""
    os.truncate(Path(url) / "G/zarr.json", 0)
    with pytest.raises(
        StoreDamaged, match=r"'G' in .* is damaged .*delete this folder and run `lincorr fit`"
    ):
        act(Scratch.begin(url, "these inputs"))


def test_a_tile_is_asked_for_by_one_request(scratch, read):
    scratch.write("G", 0, 0, np.ones((2, 3)))
    read.clear()
    assert [scratch.has("G", 0, j) for j in range(3)] == [True, False, False]
    assert read == []  # but whether the tile exists


def test_the_same_inputs_go_on_and_others_begin_anew(scratch, url):
    scratch.write("G", 0, 0, np.ones((2, 3)))
    scratch.remember(rank=3)
    again = Scratch.begin(url, "these inputs")
    again.create("G", (5, 7), (2, 3))
    assert again.has("G", 0, 0)
    assert again.facts() == {"rank": 3}
    other = Scratch.begin(url, "other inputs")
    assert not other.has("G", 0, 0)
    assert other.facts() == {}
    assert Scratch.inputs(url) == "other inputs"


def test_a_scratch_whose_making_was_killed_is_made(url, monkeypatch):
    """At any write: else a fit would refuse its own tiles, as those of a run that has ended."""
    write = _Explained.set
    left = [0]

    async def killed(self: _Explained, key: str, value: Any) -> None:
        if not left[0]:
            raise OSError("killed")
        left[0] -= 1
        await write(self, key, value)

    for writes in range(4):
        with monkeypatch.context() as patched:
            patched.setattr(_Explained, "set", killed)
            left[0] = writes
            with suppress(OSError):
                Scratch.begin(url, "other inputs", anew=True)
        made = Scratch.begin(url, "other inputs")
        made.save("a", np.ones(2))
        assert Scratch.begin(url, "other inputs").load("a").tolist() == [[1.0, 1.0]]


def test_a_task_that_outlives_its_run_writes_nothing_into_what_was_begun_since(scratch, url):
    """As one on a cluster of others may, after Ctrl-C."""
    of_task = Scratch.attach(url)
    of_task.write("G", 0, 0, np.ones((2, 3)))
    other = Scratch.begin(url, "other inputs")
    other.create("G", (5, 7), (2, 3))
    with pytest.raises(LincorrError, match="was begun anew or deleted since"):
        of_task.write("G", 0, 0, np.ones((2, 3)))
    assert not other.has("G", 0, 0)
    shutil.rmtree(url)
    with pytest.raises(LincorrError, match="was begun anew or deleted since"):
        other.write("G", 0, 0, np.ones((2, 3)))
    assert not Path(url).exists()


def test_whole_matrices_and_vectors(scratch):
    scratch.save("v", np.arange(3.0))
    np.testing.assert_array_equal(scratch.load("v"), [[0.0, 1.0, 2.0]])
    scratch.discard("v")
    assert not scratch.has("v", 0, 0)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_matrix_is_saved(scratch, shape):
    scratch.save("nothing", np.empty(shape))
    assert scratch.load("nothing").shape == shape


def test_there_is_none_where_there_is_none(url):
    assert Scratch.inputs(url) is None


@pytest.mark.parametrize(("tile", "most"), [((400, 500), 2.2), ((100, 100), 1.3)])
def test_a_matrix_is_in_memory_once_when_it_is_loaded(
    tile: tuple[int, int], most: float, tmp_path: Path
) -> None:
    """One of a single tile is there twice while its file is read."""
    scratch, whole = Scratch.begin(str(tmp_path), "inputs"), np.arange(200_000.0).reshape(400, 500)
    scratch.create("whole", whole.shape, tile)
    for i, j in itertools.product(*map(range, scratch.tiles("whole"))):
        part = whole[i * tile[0] : (i + 1) * tile[0], j * tile[1] : (j + 1) * tile[1]]
        scratch.write("whole", i, j, part)
    scratch.load_host("whole")  # what a first read imports and keeps
    tracemalloc.start()
    try:
        found = scratch.load_host("whole")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tobytes() == whole.tobytes()
    assert peak < most * whole.nbytes


def test_a_matrix_of_one_tile_is_not_copied(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch.save("whole", np.ones((3, 4)))
    tile = scratch.read_host("whole", 0, 0)
    monkeypatch.setattr(scratch, "read_host", lambda name, i, j: tile)
    assert scratch.load_host("whole") is tile
