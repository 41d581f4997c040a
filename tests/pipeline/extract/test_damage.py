"""Files that are not what was written: named, refused and repaired."""

import json
import os
import shutil
from pathlib import Path
from unittest.mock import ANY

import pytest
import zarr

from lincorr.prompts.trees import PromptTemplate, Trunk, trunk_of
from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from tests.pipeline.extract.extraction import SHARD_ROWS, TEMPLATES, assert_equal_bits, extracted


@pytest.fixture
def store(tmp_path: Path, undisturbed: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(undisturbed, tmp_path / "run.zarr"))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def empty(path: Path) -> None:
    os.truncate(path, 0)


damaged = pytest.mark.parametrize(
    ("damage", "chunk"),
    [
        (truncate, "logits/city/c/3/0"),
        (truncate, "hidden/country/c/17/0"),
        (flip_a_bit, "logits/city/c/3/0"),
        (flip_a_bit, "hidden/country/c/17/0"),
        (empty, "logits/city/c/3/0"),
        (Path.unlink, "logits/city/c/3/0"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)


def place(chunk: str) -> tuple[str, str]:
    """Template and shard of a chunk."""
    _, template, _, shard, _ = chunk.split("/")
    return template, shard


@damaged
def test_verify_names_a_damaged_shard(damage, chunk, store, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    assert main(["store", "verify", str(store), "--json"]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert faults == [f"template {template!r}, shard {shard}: damaged"]


@damaged
def test_fit_refuses_a_damaged_shard(damage, chunk, store, flags, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    assert main(["fit", *flags, "--store", str(store)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"shard {shard} of template {template!r}" in line
    assert "`lincorr extract`" in line
    assert LogitStore.open(str(store)).maps.relations() == []


@damaged
def test_extract_repairs_that_shard_and_no_other(damage, chunk, store, flags, undisturbed, capsys):
    damage(store / chunk)
    template, shard = place(chunk)
    before = {path: path.stat().st_mtime_ns for path in store.glob("*/*/c/*/0")}
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    written = {path for path in store.glob("*/*/c/*/0") if path.stat().st_mtime_ns != before.get(path)}
    assert written == {store / f"{kind}/{template}/c/{shard}/0" for kind in ("logits", "hidden", "done")}
    assert_equal_bits(store, undisturbed)


@pytest.mark.parametrize("remembers", [True, False], ids=["this version's", "an older store"])
def test_a_repaired_template_is_asked_with_those_it_was_added_with(
    remembers, store, flags, counted, monkeypatch, capsys
):
    asked = []

    def watched(templates: list[PromptTemplate]) -> Trunk:
        asked.append(len(templates))
        return trunk_of(templates)

    if not remembers:
        for template in TEMPLATES:
            zarr.open_group(str(store), path=f"columns/{template}").attrs.pop("together")
    monkeypatch.setattr("pipeline.extract.prompts.trunk_of", watched)
    flip_a_bit(store / "hidden/country/c/17/0")
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert asked == [2 if remembers else 1]
    counted.assert_right()  # prompts of the other template are asked, and no progress


def test_an_older_store_is_extracted_as_it_was_begun(store, flags, undisturbed, capsys):
    for template in TEMPLATES:
        zarr.open_group(str(store), path=f"columns/{template}").attrs.pop("together")
        shutil.rmtree(store / f"done/{template}/c/17")
    assert extracted(store, flags, capsys) == {
        "shards": 1,
        "prompts": 2 * SHARD_ROWS,
        "bytes_written": ANY,
        "asked": 0,
    }
    assert_equal_bits(store, undisturbed)


def test_a_lost_record_is_a_shard_that_was_not_extracted(store, flags, undisturbed, capsys):
    (store / "done/city/c/3/0").unlink()
    assert LogitStore.open(str(store)).verify() == ["template 'city', shard 3: not extracted"]
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_record_is_found_and_repaired(damage, store, flags, undisturbed, capsys):
    damage(store / "done/city/c/3/0")
    assert LogitStore.open(str(store)).verify() == ["template 'city', shard 3: damaged"]
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


def test_a_chunk_without_a_record_is_no_data(store, flags, undisturbed, capsys):
    """A worker that dies between chunk and record leaves this."""
    (store / "done/city/c/3/0").unlink()
    flip_a_bit(store / "logits/city/c/3/0")
    assert extracted(store, flags, capsys)["prompts"] == SHARD_ROWS
    assert_equal_bits(store, undisturbed)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_a_damaged_head_is_found_and_refused(damage, store, flags, capsys):
    damage(store / "head/weight/c/0/0")
    assert main(["store", "verify", str(store)]) == 1
    assert "head" in capsys.readouterr().out
    assert main(["fit", *flags, "--store", str(store)]) == 1
    assert "the output head" in capsys.readouterr().err


def test_a_deleted_head_is_written_again(store, flags, undisturbed, capsys):
    shutil.rmtree(store / "head")
    assert extracted(store, flags, capsys)["prompts"] == 0
    assert_equal_bits(store, undisturbed)
