"""Subjects of every kind, against Hugging Face."""

import numpy as np

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.run.runner import VOCABULARY


def test_strings_from_a_file(run, reference, tmp_path):
    names = [f"{first} {last}" for first in ("Anna", "Bo", "Tokyo") for last in CITIES]
    (tmp_path / "names.txt").write_text("\n".join(names))
    flags = {"subjects_kind": "strings", "subjects_count": "null", "subjects_file": tmp_path / "names.txt"}
    assert run("extract", **flags)["prompts"] == 60
    assert set(run.store.subjects().classes) == {"string"}
    right = reference.of_texts([f"{name} lives in the city of" for name in names])
    ids = [reference.column(word) for word in CITIES]
    np.testing.assert_allclose(run.arrays()["logits/city"], right[:, ids], atol=1e-4)


def test_token_ids_from_a_file(run, reference, tmp_path):
    ids = list(range(300, 250, -2))
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    run("extract", subjects_kind="tokens", subjects_count="null", subjects_file=tmp_path / "ids.txt")
    assert run.subjects() == ids
    right = reference.after(ids, " lives in the city of")
    columns = [reference.column(word) for word in CITIES]
    np.testing.assert_allclose(run.arrays()["logits/city"], right[:, columns], atol=1e-4)


def test_a_token_named_twice_is_computed_once_and_fitted_twice(run, tmp_path):
    ids = [*range(270, 300), *range(270, 280)]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    flags = {"subjects_kind": "tokens", "subjects_count": "null", "subjects_file": tmp_path / "ids.txt"}
    assert run("extract", **flags)["prompts"] == 2 * 30
    run("fit", **flags)
    assert run.store.maps.load("toy", "domain").diagnosis.n_rows == 20


def test_the_notebooks_subjects_are_raw_spellings(run, reference):
    document = run("run", subjects_compat="notebook", subjects_count=80)
    texts = list(run.store.subjects().texts)
    assert set(texts) <= set(reference.tokenizer.get_vocab())
    assert document["subjects"]["count"] == 80 >= len(texts)
    assert "drawn with replacement" in document["notes"][0]
    right = reference.of_texts([f"{text} lives in the country of" for text in texts])
    ids = [reference.column(word) for word in COUNTRIES]
    np.testing.assert_allclose(run.arrays()["logits/country"], right[:, ids], atol=1e-4)


def test_every_token_of_the_vocabulary(run):
    run("extract", subjects_count="all", subjects_classes="text,blank,byte,added,special")
    assert run.subjects() == list(range(VOCABULARY))
    assert run.store.verify() == []
