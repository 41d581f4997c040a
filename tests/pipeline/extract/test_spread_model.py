"""Extraction with a model that is spread over devices, by accelerate's own hooks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lincorr.model.load import release_model
from pipeline.cli.main import main
from tests.lincorr.model.test_placement import ON_DISK
from tests.pipeline.extract.extraction import assert_equal_bits, extract_here


@pytest.fixture(autouse=True)
def _loaded_anew() -> Iterator[None]:
    release_model()
    yield
    release_model()


def test_a_spread_model_fills_a_store_with_the_same_bits(
    undisturbed: Path, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def placed(spec: object, device: str, *, quantized: bool) -> dict[str, object]:
        asked.append(spec.gpus)  # type: ignore[attr-defined]
        return {"device_map": ON_DISK, "offload_folder": str(tmp_path / "layers")}

    monkeypatch.setattr("lincorr.model.load.placement", placed)
    monkeypatch.setattr("lincorr.model.load.require_placed", lambda *_: None)  # a disk takes a GPU's place
    extract_here(tmp_path / "spread.zarr", [*flags, "--cluster-gpus-per-worker", "2"])
    assert asked == [2]  # loaded once
    assert_equal_bits(tmp_path / "spread.zarr", undisturbed)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("auto", "cluster.gpus_per_worker: 4 GPUs are asked for and this worker sees 0; set it lower"),
        ("cpu", "model.device: cpu is one device and cluster.gpus_per_worker is 4; use cuda or auto"),
    ],
)
def test_a_worker_with_too_few_gpus_says_so(
    device: str, said: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.zarr"
    options = ["--store", str(store), "--cluster-kind", "serial", "--cluster-gpus-per-worker", "4"]
    assert main(["extract", *flags, *options, "--model-device", device]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not store.exists()
