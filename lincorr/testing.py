"""For tests: toy tokenizers, a toy model on disk, and problems and stores with a planted solution."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.readout import Readout

CITIES = ("Tokyo", "Paris", "Berlin", "Madrid", "Rome", "Cairo", "Lima", "Oslo", "Delhi", "Seoul")
COUNTRIES = ("Japan", "France", "Germany", "Spain", "Italy", "Egypt", "Peru", "Norway", "India", "Korea")


def save_toy_model(folder: Path, *, seed: int = 0, width: int = 32, **config: Any) -> Path:
    """Save a tiny random Llama with a byte-level tokenizer whose vocabulary has `CITIES` and `COUNTRIES`.

    Args:
        config: further fields of the `LlamaConfig`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = toy_tokenizer()
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,  # logits that differ clearly from subject to subject
        "tie_word_embeddings": True,
    }
    model = LlamaForCausalLM(LlamaConfig(**(sizes | config)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def toy_relation(source: str, target: str) -> dict[str, Any]:
    """Return the relation from `CITIES` to `COUNTRIES` under two templates, as catalogue files declare it."""
    return {
        "family": "places",
        "source": {"template": source, "answers": list(CITIES)},
        "target": {"template": target, "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }


def toy_tokenizer(words: Sequence[str] = CITIES + COUNTRIES, *, bos: bool = False) -> Any:
    """Train a byte-level BPE tokenizer in which each of `words` is one token after a space.

    Args:
        bos: put ``<s>`` before every text, by the tokenizer's own rule.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sentences = [f"{word} lives in the city of {word}, in the country of {word}." for word in words]
    tokenizer.train_from_iterator(sentences * 3, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def sentencepiece_tokenizer(words: Sequence[str] = CITIES + COUNTRIES) -> Any:
    """Build a tokenizer like Llama 2's: "▁" for a space, one before every text, bytes for unknown letters.

    Each of `words` is one token after a space, and " " before a text is a token of its own.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += string.ascii_letters + string.digits + string.punctuation
    pieces += [f"▁{word}" for word in (*words, "lives", "in", "the", "city", "country", "of")]
    model = models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@dataclass(frozen=True, slots=True)
class HiddenProblem:
    """Hidden states under two prompts with a planted linear relation, and the heads that read them out.

    Attributes:
        source, target: (n, d) float64 hidden states H1 and H2 = H1 A + noise.
        source_head, target_head: of p and q tokens.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    source_head: Readout
    target_head: Readout

    def source_logits(self) -> NDArray[np.float64]:
        """X (n, p)."""
        logits: NDArray[np.float64] = self.source_head.logits(self.source)
        return logits

    def target_logits(self) -> NDArray[np.float64]:
        """Y (n, q)."""
        logits: NDArray[np.float64] = self.target_head.logits(self.target)
        return logits


def hidden_problem(
    n: int, d: int, p: int, q: int, *, noise: float = 0.1, bias: bool = False, seed: int = 0
) -> HiddenProblem:
    """Plant a problem of n subjects, width d, p source and q target columns."""
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((n, d)) * np.logspace(0, -1, d) + rng.standard_normal(d)
    target = source @ rng.standard_normal((d, d)) / np.sqrt(d) + noise * rng.standard_normal((n, d))

    def head(columns: int) -> Readout:
        return Readout(rng.standard_normal((columns, d)), rng.standard_normal(columns) if bias else None)

    return HiddenProblem(source, target, head(p), head(q))


def planted_store(
    url: str, problem: HiddenProblem, *, precision: str = "float32", shard_rows: int = 256
) -> Any:
    """Make a `LogitStore` whose templates "source" and "target" have all logits of a planted problem.

    Row i is row i of the problem. There are no hidden states, as for a model that gives logits only.
    """
    from lincorr.prompts.columns import Columns
    from lincorr.prompts.subjects import string_subjects
    from lincorr.relations.relation import Template
    from lincorr.store.identity import Identity
    from lincorr.store.store import LogitStore

    (n, d), p, q = problem.source.shape, len(problem.source_head.weight), len(problem.target_head.weight)
    store = LogitStore.create(
        url,
        Identity(
            source="planted",
            revision=None,
            config="",
            weights="",
            tokenizer="",
            compute="float64",
            head="linear",
            linear=True,
            vocabulary_size=max(p, q),
            width=d,
            precision=precision,
            hidden=False,
            shard_rows=shard_rows,
            batch_tokens=1,
            passes="whole",
        ),
    )
    store.add_subjects(string_subjects([f"subject {i}" for i in range(n)]))
    for name, hidden, head in (
        ("source", problem.source, problem.source_head),
        ("target", problem.target, problem.target_head),
    ):
        texts = tuple(f" {name} {i}" for i in range(len(head.weight)))
        columns = Columns(np.arange(len(texts)), texts, texts, (True,) * len(texts), {})
        store.add_template(Template(name, f"{{}} {name}"), columns)
        for shard in range(store.shards.count):
            store.shards.write(name, shard, head.logits(hidden[store.shards.rows(shard)]), None)
    return store
