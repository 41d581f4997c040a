"""Bag-of-words networks on a planted vocabulary, and on a tiny model's own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lincorr.model.files import ModelSpec
from lincorr.model.load import load_model
from lincorr.model.shallow import Shallow, ShallowRecipe, Vocabulary, train_shallow

WIDTH, SUBJECTS, TAUGHT = 48, 192, 128
SOURCES, TARGETS = np.arange(300, 310), np.arange(310, 320)  # a target is its source and the same step
SOURCE_TEMPLATE, TARGET_TEMPLATE = [290, 291, 292], [290, 291, 293]
RECIPE = ShallowRecipe(width=256, rate=1e-3, decay=0.1, steps=300)


@pytest.fixture(scope="module")
def planted() -> Vocabulary:
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((320, WIDTH))
    embeddings[TARGETS] = embeddings[SOURCES] + 1.5 * rng.standard_normal(WIDTH)
    ids = np.concatenate([SOURCES, TARGETS])
    tensor = torch.tensor(embeddings, dtype=torch.float32)
    return Vocabulary(tensor, tensor[ids], ids)


def follows(vocabulary: Vocabulary, order: list[int]) -> tuple[float, float]:
    """Shares of the trained prompts, and of the held-out target prompts, that are answered right."""
    given = np.random.default_rng(1).integers(3, size=SUBJECTS)
    sources = [[subject, *SOURCE_TEMPLATE] for subject in range(SUBJECTS)]
    targets = [[subject, *TARGET_TEMPLATE] for subject in range(SUBJECTS)]
    prompts = sources + targets[:TAUGHT]
    right = TARGETS[np.array(order)[given]]
    answers = np.concatenate([SOURCES[given], right[:TAUGHT]])
    network = train_shallow(vocabulary, prompts, answers.tolist(), RECIPE, seed=0)
    learnt, asked = (
        vocabulary.ids[network.logits(part).argmax(axis=1)] for part in (prompts, targets[TAUGHT:])
    )
    return float(np.mean(learnt == answers)), float(np.mean(asked == right[TAUGHT:]))


def test_it_generalises_where_the_mapping_is_a_step_in_the_vocabulary(planted: Vocabulary) -> None:
    learnt, success = follows(planted, [0, 1, 2])
    assert learnt == 1.0
    assert success > 0.8


def test_it_does_not_where_the_mapping_is_permuted(planted: Vocabulary) -> None:
    learnt, success = follows(planted, [1, 2, 0])
    assert learnt == 1.0  # both are learnt
    assert success < 0.5


def test_the_order_of_words_does_not_count(planted: Vocabulary) -> None:
    network = _trained(planted)
    assert network.logits([[1, 2, 290]]) == pytest.approx(network.logits([[290, 1, 2]]), abs=1e-5)
    assert not np.allclose(network.logits([[1, 2, 290]]), network.logits([[1, 3, 290]]), atol=1e-3)


def test_the_same_seed_gives_the_same_bits(planted: Vocabulary) -> None:
    state = torch.random.get_rng_state()
    first, second = (_trained(planted).logits([[5, 290]]) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's draws change
    assert not np.array_equal(first, _trained(planted, seed=1).logits([[5, 290]]))


def test_embeddings_and_head_are_the_models_and_stay(toy_model: Path) -> None:
    model = load_model(ModelSpec(str(toy_model), dtype="float32"))
    ids = np.array([300, 7, 12])
    vocabulary = Vocabulary.of(model, ids)
    table = model.model.get_input_embeddings().weight.detach().clone()
    head = model.model.get_output_embeddings().weight.detach().clone()
    prompts = [[4, 5, 6], [9]]
    assert vocabulary.bags(prompts).numpy() == pytest.approx(
        np.stack([(table[4] + table[5] + table[6]).numpy() / 3, table[9].numpy()]), abs=1e-6
    )
    assert torch.equal(vocabulary.head, head[ids])
    train_shallow(vocabulary, prompts, [7, 12], ShallowRecipe(8, 0.1, 0.1, 5), seed=0)
    assert torch.equal(table, model.model.get_input_embeddings().weight)
    assert torch.equal(head, model.model.get_output_embeddings().weight)


def _trained(vocabulary: Vocabulary, seed: int = 0) -> Shallow:
    recipe = ShallowRecipe(width=16, rate=0.01, decay=0.0, steps=5)
    return train_shallow(vocabulary, [[1, 290], [2, 291]], [300, 311], recipe, seed=seed)
