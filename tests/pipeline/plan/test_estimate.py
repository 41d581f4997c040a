"""Estimates from a configuration alone, against torch's own counts, counted products, and a store on disk."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig

from lincorr.model.language_model import LanguageModel
from lincorr.prompts.trees import merge_prompts, prompt_template, trunk_of
from lincorr.readout import Readout
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.choose import choose
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import factored
from lincorr.solvers.spectrum import ridge_path, solve
from lincorr.store.shards import Shards
from lincorr.testing import CITIES, COUNTRIES, hidden_problem
from pipeline.cli.main import main
from pipeline.config import load_config
from pipeline.plan.costs import FitSizes, evaluation_cost, fit_cost, relation_bytes, set_up_cost
from pipeline.plan.estimate import Estimate, StageEstimate, estimate, extract_seconds, map_bytes
from pipeline.plan.gpus import DEVICES
from pipeline.plan.model_sizes import model_sizes
from pipeline.plan.workload import Workload, workload
from pipeline.prepare.prepare import prepare
from pipeline.run import Run

# https://huggingface.co/meta-llama/Meta-Llama-3-8B/blob/main/config.json
LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
# Torch counts plain products only, not those inside fused kernels.
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but Llama-3-8B's config.json."""
    folder = tmp_path_factory.mktemp("llama-3-8b")
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B))
    return folder


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path) -> dict[str, str]:
    """A small run of the toy model, all tasks in this process."""
    relation = {
        "source": {"template": "city", "answers": list(CITIES)},
        "target": {"template": "country", "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }
    catalogue = {"templates": TEXTS, "relations": {"toy": relation}}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    return {
        "model.source": str(toy_model),
        "model.dtype": "float32",
        "catalogue": str(tmp_path / "toy.yaml"),
        "relations": "toy",
        "subjects.count": "150",
        "store.path": str(tmp_path / "run.zarr"),
        "store.shard_rows": "64",
        "cluster.kind": "serial",
        "cluster.batch_tokens": "256",
    }


def planned(flags: dict[str, str]) -> Workload:
    return workload(load_config(None, flags), host_bytes=10**11)


# --- the model -----------------------------------------------------------------------------------------


def test_the_parameters_of_llama_3_8b_are_those_that_its_makers_tell(llama):
    work = planned({"model.source": str(llama), "subjects.count": "128000"})
    assert work.sizes.parameters == 8_030_261_248  # "8.03B" on its page
    # by hand: 32 layers of q, k, v, o and gate, up, down
    assert work.sizes.multiplied == 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert work.file_bytes == work.weight_bytes == 2 * work.sizes.parameters
    assert work.groups[0].own_tokens == 8  # X lives in the, city of, country of
    assert work.groups[0].seen_tokens == 9  # and BOS


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=12,
        ),
        MixtralConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
            num_experts_per_tok=2,
        ),
    ],
    ids=["llama", "mixtral"],
)
def test_operations_are_those_that_torch_counts(config: Any) -> None:
    sizes = model_sizes(config)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, **EAGER).eval()
    trees, tokens = 4, 7
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.base_model(torch.randint(300, (trees, tokens)), use_cache=False)
    assert trees * sizes.flops(tokens, tokens) == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert sizes.parameters == sum(p.numel() for p in model.parameters())


def test_operations_of_a_subject_are_those_of_its_forward_pass(flags, toy_model):
    work = planned(flags)
    assert work.tokenized
    network = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32, **EAGER)
    model = LanguageModel(network, _tokenizer(toy_model), "cpu")
    templates = [prompt_template(model.tokenizer, text) for text in TEXTS.values()]
    tree = merge_prompts([t.splice(5) for t in templates], trunk_of(templates))
    ids = np.array([tree.tokens] * 8)
    heads = [model.part_of_readout(np.arange(c)) for c in work.columns.values()]
    with FlopCounterMode(display=False) as counter:
        model.hidden_and_logits(ids, tree.shape, heads)
    assert 8 * work.subject_flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


# --- fits ----------------------------------------------------------------------------------------------


class Counted(np.ndarray):
    """An array that counts the operations of its matrix products."""

    operations = 0.0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        plain = [np.asarray(i) if isinstance(i, np.ndarray) else i for i in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(o) for o in out)
        found = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.operations += 2.0 * np.size(found) * plain[0].shape[-1]
        return found.view(Counted) if isinstance(found, np.ndarray) else found


def counted(array: Any) -> Any:
    return np.asarray(array, np.float64).view(Counted)


def count(function: Callable[[], Any]) -> tuple[Any, float]:
    Counted.operations = 0.0
    found = function()
    return found, Counted.operations


def test_the_counter_counts():
    a = counted(np.ones((3, 4)))
    assert count(lambda: a @ a.T)[1] == 2 * 3 * 4 * 3


SIZES = {
    "factored": FitSizes(
        n=600, t=300, p=500, q=90, kept_p=60, kept_q=90, d=40, vocabulary=500, n_subjects=900, itemsize=4,
        hidden=True,
    ),
    "direct": FitSizes(
        n=600, t=300, p=60, q=90, kept_p=60, kept_q=90, d=80, vocabulary=500, n_subjects=900, itemsize=4,
        hidden=True,
    ),
}  # fmt: skip


def set_up(method: str, s: FitSizes) -> Any:
    made = hidden_problem(s.n, s.d, s.p, s.q)
    ids = {"source_ids": np.arange(s.p), "target_ids": np.arange(s.q)}
    if method == "direct":
        x, y = counted(made.source_logits()), counted(made.target_logits())
        return direct(x, y, storage_eps=1e-12, **ids)
    heads = [Readout(counted(head.weight)) for head in (made.source_head, made.target_head)]
    return factored(counted(made.source), counted(made.target), *heads, storage_eps=1e-12, **ids)


@pytest.mark.parametrize("method", SIZES)
def test_products_of_a_fit_are_those_that_are_made(method: Any) -> None:
    s = SIZES[method]
    choice = choose(s.n, s.p, s.q, width=s.d, hidden=True, memory_bytes=10**9, method=method)
    problem, made = count(lambda: set_up(method, s))
    assert set_up_cost(s, choice).products == pytest.approx(made, rel=0.05)
    _, walked = count(lambda: ridge_path(problem))
    _, solved = count(lambda: [solve(problem, root) for root in (0.0, 0.1)])
    assert fit_cost(s, choice).products == pytest.approx(made + walked + solved, rel=0.05)


@pytest.mark.parametrize("method", SIZES)
def test_products_of_scoring_are_those_that_are_made(method: Any) -> None:
    s = SIZES[method]
    choice = choose(s.n, s.p, s.q, width=s.d, hidden=True, memory_bytes=10**9, method=method)
    problem, set_up_products = count(lambda: set_up(method, s))
    held = hidden_problem(s.t, s.d, s.p, s.q)
    x, y = (
        (held.source, held.target) if method == "factored" else (held.source_logits(), held.target_logits())
    )
    moments, made = count(lambda: CrossMoments.of(counted(x), counted(y)))
    _, scored = count(lambda: problem.score(problem.coefficients(1.0), moments))
    _, exchanged = count(lambda: problem.with_centred(problem.targets))
    # the path of 21 penalties, and for two maps themselves and eight shuffles; bootstrap, predictions and all
    # outputs are beside
    most = set_up_products + made + (21 + 2 * 9) * scored + 2 * 8 * exchanged
    beside = 2 * (2 * 400 * s.t * 5 * s.q)
    beside += 2 * (
        4 * s.t * s.d**2 + 4 * s.t * s.d * (s.q + 512) if method == "factored" else 2 * s.t * s.p * s.q
    )
    beside += 2 * (6 * s.d**3 + 6 * s.vocabulary * s.d**2) if method == "factored" else 0
    assert evaluation_cost(s, choice).products == pytest.approx(most + beside, rel=0.05)


# --- bytes ---------------------------------------------------------------------------------------------


def test_bytes_are_those_of_a_store_on_disk(flags, tmp_path, monkeypatch):
    work = planned(flags)
    run = Run(load_config(None, flags))
    receipts = run.extract()
    assert sum(r.bytes_written for r in receipts) == work.data_bytes
    store = tmp_path / "run.zarr"
    # a chunk has four bytes of checksum, and the last shard's are as long as the others'
    chunks = work.n_shards * 2 * len(work.columns)
    padded = work.n_shards * work.shard_rows * work.row_width * work.itemsize
    assert size(store / "logits") + size(store / "hidden") == padded + 4 * chunks
    assert size(store / "head") == work.head_bytes + 4

    read: list[int] = []
    verified = Shards._verified

    def watched(self: Shards, *args: Any) -> Any:
        data = verified(self, *args)
        read.append(data.nbytes)
        return data

    monkeypatch.setattr(Shards, "_verified", watched)
    run.fit()
    costs = [fit_cost(*fit) for fit in work.fits.values()]
    assert sum(read) == pytest.approx(sum(cost.read_bytes for cost in costs), rel=0.02)
    read.clear()
    run.evaluate()
    head = 4 * work.sizes.vocabulary_size * work.sizes.width
    costs = [evaluation_cost(*fit) for fit in work.fits.values()]
    checked = relation_bytes(next(iter(work.fits.values()))[0])
    assert sum(read) == pytest.approx(sum(c.read_bytes for c in costs) + checked - head, rel=0.02)
    maps = sum(map_bytes(s.p, s.q, s.d, choice.method) for s, choice in work.fits.values())
    assert size(store / "maps") == pytest.approx(maps, rel=0.02)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("**/c/**/*") if path.is_file())


# --- estimates -----------------------------------------------------------------------------------------


def stages(found: Estimate) -> dict[str, StageEstimate]:
    return {stage.name: stage for stage in found.stages}


def test_the_example_of_the_document(llama):
    """Llama-3-8B, 128,000 subjects, two templates: the figures of docs/scaling.md, by hand."""
    config = {"model.source": str(llama), "subjects.count": "128000"}
    work = planned(config)
    eight, many = (stages(estimate(work, DEVICES["h100"], gpus)) for gpus in (8, 64))
    tokens, h100 = 8 * 128_000, 0.2 * 989e12
    assert eight["extract"].seconds == pytest.approx(2 * 6.98e9 * tokens / (8 * h100), rel=0.05)
    # 32 shards of 4,096: half of the 64 have one, the others none
    assert many["extract"].where == "32 GPUs"
    assert many["extract"].seconds == pytest.approx(eight["extract"].seconds / 4, rel=0.05)
    smaller = planned(config | {"store.shard_rows": "500"})
    assert stages(estimate(smaller, DEVICES["h100"], 64))["extract"].where == "64 GPUs"
    assert stages(estimate(smaller, DEVICES["h100"], 64))["extract"].seconds == pytest.approx(
        eight["extract"].seconds / 8, rel=0.05
    )
    columns = sum(work.columns.values())
    hidden = 128_000 * (2 * 4096 + columns) * 4
    assert eight["extract"].store_bytes == hidden + 128_256 * 4096 * 4
    assert eight["load"].network_bytes == 2 * 8_030_261_248
    assert many["load"].network_bytes == 8 * eight["load"].network_bytes  # eight hosts
    assert 16e9 < eight["extract"].gpu_bytes < 25e9
    document = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text("utf-8")
    for stage in (*eight.values(), *many.values()):
        [row] = {
            line
            for line in document.splitlines()
            if line.startswith(f"| {stage.name} |")
            and f"| {stage.where.split()[0]} " in line.replace("64 H100, of which 32 work", "32 ")
        }
        assert f"| {stage.seconds:.0f} s |" in row
        sizes = (stage.store_bytes, stage.network_bytes, stage.gpu_bytes, stage.host_bytes)
        assert [f"{size / 1e9:.1f} GB" for size in sizes if size] == re.findall(r"[\d.]+ GB", row)


def test_a_pass_with_few_tokens_waits_for_the_weights(llama):
    work = planned({"model.source": str(llama), "subjects.count": "128000"})
    h100 = DEVICES["h100"]
    few = replace(work, batch_tokens=8)
    passes = 1000  # of a subject each
    assert extract_seconds(few, h100, passes) == pytest.approx(passes * work.weight_bytes / 3.35e12)
    assert extract_seconds(work, h100, passes) < extract_seconds(few, h100, passes) / 5


def test_a_plan_for_gpus_needs_the_configuration_alone(llama, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["plan", "--model", str(llama), "--subjects-count", "128000", "--gpus", "8,64", "--gpu", "h100"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "8 x H100 SXM" in out
    assert "64 x H100 SXM" in out
    assert main([*command, "--json"]) == 0
    eight, many = json.loads(capsys.readouterr().out)
    assert (eight["gpus"], many["gpus"]) == (8, 64)
    assert [stage["name"] for stage in eight["stages"]] == ["load", "extract", "fit", "evaluate"]
    assert any("set store.shard_rows to 500 or less" in note for note in many["notes"])
    assert list(tmp_path.iterdir()) == []
    assert [path.name for path in llama.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--gpus", "eight"], "--gpus: 'eight' is no number of GPUs; write 8, or 8,64 to compare"),
        (["--gpus", "0"], "--gpus: '0' is no number of GPUs"),
        (["--gpu", "tpu"], "--gpu: 'tpu' is not in the table"),
        (["--gpus", "8", "--gpu", "tpu"], "--gpu: 'tpu' is not in the table; choose from a100, h100, h200"),
        (["--gpus", "8", "--subjects-count", "200000"], "subjects.count: 200,000 of a vocabulary of 128,256"),
        (
            ["--gpus", "8", "--model-dtype", "float32", "--cluster-batch-tokens", "400000"],
            "do not fit into one",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(llama, more, line, capsys):
    assert main(["plan", "--model", str(llama), *more]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def test_a_configuration_that_is_no_language_models_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    assert main(["plan", "--model", str(tmp_path), "--gpus", "8"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: model: its sizes cannot be read off its config.json")


def test_words_and_tokens_agree_for_a_toy(flags, toy_model, tmp_path):
    """Its tokenizer has every word of the templates as one token."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text((toy_model / "config.json").read_text())
    exact, rough = planned(flags), planned(flags | {"model.source": str(alone)})
    assert (exact.tokenized, rough.tokenized) == (True, False)
    assert exact.columns == rough.columns
    assert exact.own_tokens == rough.own_tokens
    assert exact.data_bytes == rough.data_bytes


def test_an_estimate_of_a_family_is_of_what_is_fitted(flags, toy_model):
    """What a run leaves out is left out, and answers behind "=" are tokens without a space."""
    asked = flags | {"relations": "family:arithmetic,family:attribute,toy"}
    found, inputs = planned(asked), prepare(load_config(None, asked))
    assert {name for name, _ in found.fits} == {relation.name for relation in inputs.relations}
    assert found.columns == {name: len(columns) for name, columns in inputs.columns.items()}
    assert found.columns["plus-1"] == 10
