"""What asking outright takes, against torch's own count."""

from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.model.language_model import LanguageModel
from lincorr.scores.audit import NOT_AUDITED
from lincorr.store.identity import Identity
from lincorr.testing import CITIES
from pipeline.extract import questions
from tests.pipeline.plan.configurations import planned

IDENTITY = Identity(
    source="", revision=None, config="", weights="", tokenizer="", compute="float32", head="", linear=True,
    vocabulary_size=376, width=32, precision="float32", hidden=True, shard_rows=64, batch_tokens=4096,
    passes="trunk",
)  # fmt: skip


@pytest.mark.parametrize(
    "targets", [["Italy", "Peru"], ["Italy", "Italy Norway", "Italy Norway Peru", "Peru of"]]
)
def test_operations_of_asking_are_those_that_torch_counts(targets, flags, toy_model, monkeypatch):
    """Answers of one token, and of several: these need branches, and all logits at the end of each."""
    several = len(targets) > 2
    catalogue = Path(flags["catalogue"])
    known = yaml.safe_load(catalogue.read_text())
    # one right answer for all: there are no two examples with different ones
    known["relations"]["toy"] |= {
        "asked": ["{} lives in the country of"],
        "target": {"template": "country", "answers": targets},
        "truth": [[city, targets[-1]] for city in CITIES],
    }
    catalogue.write_text(yaml.safe_dump(known))
    work = planned(flags | {"multi_token": str(several).lower()})
    (asked,) = work.asked
    assert (asked.sums, asked.n_prompts) == (several, len(CITIES))

    plain = {
        "attn_implementation": "eager",
        "experts_implementation": "eager",
    }  # torch counts no fused kernels
    network = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32, **plain)
    model = LanguageModel(network, AutoTokenizer.from_pretrained(toy_model), "cpu")
    monkeypatch.setattr("pipeline.extract.forward.audit_shard", lambda *asked: [NOT_AUDITED] * len(asked[2]))
    monkeypatch.setattr(
        questions, "compute", lambda do, *given, **named: do(*given, **named)
    )  # in this thread
    with FlopCounterMode(display=False) as counter:
        found = questions.ask_questions(model, IDENTITY, asked)
    assert found.logits.shape == (1, len(CITIES), len(asked.targets))
    assert work.asked_flops(asked) == pytest.approx(counter.get_total_flops(), rel=0.02)
