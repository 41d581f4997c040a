"""Vocabularies with gaps, tokenizers larger than the model, prompts longer than its positions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tokenizers import normalizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, save_toy_model, toy_relation, toy_tokenizer
from pipeline.cli.main import main

SOURCE, TARGET = "{} lives in the city of", "{} lives in the country of"
Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a verb on a model with a store in `tmp_path`; returns the exit code."""

    def run(verb: str, model: Path, **settings: Any) -> int:
        catalogue = tmp_path / "toy.yaml"
        texts = {"place": settings.pop("source", SOURCE), "land": TARGET}
        relation = toy_relation("place", "land")
        catalogue.write_text(yaml.safe_dump({"templates": texts, "relations": {"toy": relation}}))
        flags = {"model": model, "catalogue": catalogue, "relations": "toy", "store": tmp_path / "run.zarr"}
        flags |= {"cluster-kind": "serial", "cluster-batch-tokens": 256} | settings
        return main([verb, *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items())])

    return run


def refused(command: Command, capsys: pytest.CaptureFixture[str], *arguments: Any, **settings: Any) -> str:
    """The line with which `extract` refuses, having made nothing."""
    capsys.readouterr()
    assert command("extract", *arguments, **settings) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


def with_a_gap(folder: Path) -> tuple[Path, int]:
    """A toy model whose last token has a later id, with ids between that no token has; and its id."""
    last = len(toy_tokenizer()) - 1
    save_toy_model(folder, vocab_size=last + 11)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    [spelling] = [spelling for spelling, token in vocabulary.items() if token == last]
    vocabulary[spelling] = last + 10
    path.write_text(json.dumps(tokenizer))
    return folder, last + 10


def test_a_token_behind_a_gap_is_a_subject_and_the_gap_is_none(command, tmp_path):
    model, behind = with_a_gap(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert len(tokenizer) <= behind
    assert command("extract", model, subjects_count="all", subjects_classes="[text,byte,blank,special]") == 0
    store = LogitStore.open(str(tmp_path / "run.zarr"))
    assert store.identity.vocabulary_size == behind + 1
    subjects = store.subjects()
    assert sorted(subjects.ids.tolist()) == sorted(tokenizer.get_vocab().values())
    row = subjects.ids.tolist().index(behind)
    own = AutoModelForCausalLM.from_pretrained(model)
    after = tokenizer(" lives in the city of", add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = own(torch.tensor([[behind, *after]])).logits[0, -1].numpy()
    columns = np.array([0, 50, behind])
    np.testing.assert_allclose(store.logits("place", columns, np.array([row]))[0], logits[columns], atol=1e-4)


def test_an_id_in_a_gap_is_refused_as_a_subject(command, tmp_path, capsys):
    model, behind = with_a_gap(tmp_path / "model")
    (tmp_path / "ids.txt").write_text(f"{behind}\n{behind - 1}\n3\n4\n")
    said = refused(command, capsys, model, subjects_kind="tokens", subjects_file=tmp_path / "ids.txt")
    assert f"token id {behind - 1} is outside the vocabulary" in said
    assert not (tmp_path / "run.zarr").exists()


def test_tokens_without_an_embedding_are_no_subjects(command, tmp_path):
    rows = len(toy_tokenizer()) - 3  # the last three are merges that no answer needs
    model = save_toy_model(tmp_path / "model", vocab_size=rows)
    assert command("extract", model, subjects_count="all") == 0
    assert LogitStore.open(str(tmp_path / "run.zarr")).subjects().ids.max() == rows - 1


def test_an_answer_without_an_embedding_is_refused_by_name(command, tmp_path, capsys):
    rows = min(toy_tokenizer().encode(f" {name}")[0] for name in ("Tokyo", "Japan"))
    said = refused(command, capsys, save_toy_model(tmp_path / "model", vocab_size=rows), subjects_count=8)
    assert f"and the model embeds {rows} tokens" in said
    assert not (tmp_path / "run.zarr").exists()


def test_a_string_without_an_embedding_is_refused_by_name(command, tmp_path, capsys):
    tokenizer = toy_tokenizer()
    last = len(tokenizer) - 1
    text = tokenizer.decode([last])
    assert last in tokenizer.encode(f"a{text}")
    (tmp_path / "s.txt").write_text(f"a\nb\na{text}\nc\n")
    model = save_toy_model(tmp_path / "model", vocab_size=last)
    said = refused(command, capsys, model, subjects_kind="strings", subjects_file=tmp_path / "s.txt")
    assert f"subject 'a{text}': the token {tokenizer.convert_ids_to_tokens(last)!r} has id {last}" in said
    assert not (tmp_path / "run.zarr").exists()


def test_learned_positions_shorter_than_the_prompt_are_refused(command, tmp_path, capsys):
    tokenizer = toy_tokenizer()
    sizes = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=8)
    AutoModelForCausalLM.from_config(sizes).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "s.txt").write_text("a\nb\nTokyo in Japan in Peru\nc\n")
    flags = {"subjects_kind": "strings", "subjects_file": tmp_path / "s.txt"}
    said = refused(command, capsys, tmp_path / "model", **flags)
    assert "template 'place': with 'Tokyo in Japan in Peru' its prompt has" in said
    assert "the model has 8 positions" in said
    assert not (tmp_path / "run.zarr").exists()


def test_rotary_positions_shorter_than_the_prompt_are_refused(command, toy_model, tmp_path, capsys):
    said = refused(command, capsys, toy_model, source="in Rome, " * 40 + SOURCE, subjects_count=8)
    assert "the model has 64 positions" in said


def test_a_prompt_without_a_token_is_refused(command, tmp_path, capsys):
    model = save_toy_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")  # as BERT's do
    tokenizer.save_pretrained(model)
    subjects = tmp_path / "subjects.txt"
    subjects.write_text("\n".join(["\u200b", *(f" {city}" for city in CITIES)]), "utf-8")
    settings = {"subjects_kind": "strings", "subjects_file": subjects}
    said = refused(command, capsys, model, source="{}", **settings)
    assert "template 'place': with '\\u200b' its prompt has no token; add words to the template" in said
    assert not (tmp_path / "run.zarr").exists()
    assert command("extract", model, **settings) == 0  # with words around it
