"""Stores that releases have written, kept in `formats/`: they are read, extended and fitted by this version.

Each was made by the release's own code, of the model beside them (40 subjects in three shards):

    lincorr run --model model --catalogue toy.yaml --relations toy --subjects-count 40 --store-shard-rows 16 \
        --cluster-batch-tokens 128 --cluster-kind serial --store STORE
"""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.scores.relation_scores import RelationScores
from lincorr.store.merge import merge
from lincorr.store.store import LogitStore
from pipeline.cli.main import main
from tests.pipeline.cli.toy import TEXTS, files_of
from tests.stores import DATA, arrays

KEPT = Path(__file__).parent / "formats"
RELEASES = ("0.1.0", "0.2.0")


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(KEPT / f"{name}.tar.xz") as packed:
        first = packed.getnames()[0].split("/")[0]
        packed.extractall(folder, filter="data")
    return folder / first


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    unpacked("model", tmp_path)
    options = {
        "--model": tmp_path / "model",
        "--catalogue": tmp_path / "toy.yaml",
        "--relations": "toy",
        "--cluster-kind": "serial",
    }
    return [str(part) for option in options.items() for part in option]


def require_the_models_own(store: LogitStore, folder: Path) -> None:
    """Compare every row with what transformers says, prompt by prompt."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = np.arange(store.n_subjects)
    for name, text in TEXTS.items():
        after = tokenizer.encode(text.removeprefix("{}"))
        prompts = [[int(subject), *after] for subject in store.subjects().ids]
        with torch.no_grad():
            right = model(torch.tensor(prompts)).logits[:, -1].numpy()
        ids = store.column_ids(name)
        np.testing.assert_allclose(store.logits(name, ids, rows), right[:, ids], atol=1e-4)
        every = np.arange(right.shape[1])
        np.testing.assert_allclose(store.logits(name, every, rows), right, atol=1e-4)


@pytest.mark.parametrize("release", RELEASES)
def test_a_store_of_a_release_is_read_extended_and_fitted(release, flags, tmp_path, capsys):
    path = unpacked(release, tmp_path)
    store = LogitStore.open(str(path))
    assert store.verify() == []
    assert (store.n_subjects, store.maps.relations()) == (40, ["toy"])
    require_the_models_own(store, tmp_path / "model")
    before, old = arrays(path, *DATA), store.maps.load("toy", "vocabulary-ridge")

    assert main(["fit", *flags, "--subjects-count", "40", "--store", str(path)]) == 0
    new = LogitStore.open(str(path)).maps.load("toy", "vocabulary-ridge")
    sources, targets = old.source_ids[:40].tolist(), old.target_ids.tolist()
    right = np.asarray(old.block(sources, targets))
    np.testing.assert_allclose(np.asarray(new.block(sources, targets)), right, atol=1e-6)

    for verb in ("extract", "fit", "evaluate"):
        assert main([verb, *flags, "--subjects-count", "50", "--store", str(path)]) == 0, capsys.readouterr()
    store = LogitStore.open(str(path))
    assert (store.verify(), store.n_subjects) == ([], 50)
    require_the_models_own(store, tmp_path / "model")
    for name, values in arrays(path, *DATA).items():
        assert values[: len(before[name])].tobytes() == before[name].tobytes(), name
    assert store.maps.load_scores("toy", RelationScores).fits


def test_stores_of_two_releases_agree(tmp_path):
    first, second = (LogitStore.open(str(unpacked(name, tmp_path)), write=True) for name in RELEASES)
    merged = merge(first, second)
    assert (merged.subjects, merged.templates, merged.shards, merged.missing) == (0, (), 0, 0)


@pytest.mark.parametrize(
    "verb", ["extract", "fit", "evaluate", "store info", "store verify", "store compact"]
)
def test_an_older_format_is_refused_and_stays(verb, flags, tmp_path, capsys):
    path = unpacked("format-1", tmp_path)
    before = files_of(path)
    told = [str(path)] if " " in verb else [*flags, "--subjects-count", "40", "--store", str(path)]
    assert main([*verb.split(), *told]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"error: store: {str(path)!r} has format 1, this version reads 2"
    assert files_of(path) == before
