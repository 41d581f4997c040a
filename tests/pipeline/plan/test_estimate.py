"""Estimates from a configuration alone, by hand."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lincorr.errors import BadInput
from pipeline.cli.main import main
from pipeline.plan.estimate import Estimate, StageEstimate, estimate, extract_seconds, gpu_bytes
from pipeline.plan.gpus import DEVICES
from tests.pipeline.plan.configurations import LLAMA_3_8B, planned


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
    # six questions about 1,450 cities; in words: X is in the country of, X is a city in the country of,
    # X ? Answer :, each alone and after examples, which are computed once; two tasks, on two GPUs
    words = 2 * (6 + 8 + 4) * 1450
    assert eight["ask"].where == many["ask"].where == "2 GPUs"
    assert eight["ask"].seconds == pytest.approx(2 * 6.98e9 * words / (2 * h100), rel=0.05)
    assert eight["ask"].store_bytes == 6 * 1450 * work.columns["country"] * 4
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


def test_only_what_has_a_truth_is_asked_outright(llama):
    no_truth = planned({"model.source": str(llama), "subjects.count": "1000", "relations": "music-gender"})
    assert list(stages(estimate(no_truth, DEVICES["h100"], 8))) == ["load", "extract", "fit", "evaluate"]


def test_relations_of_several_sources_share_all_hosts_and_one_does_not(llama):
    """As `pipeline.fit.sharing` has it: they are dealt out to workers where one host takes long."""
    config = {"model.source": str(llama), "subjects.count": "128000"}
    one, several = (planned(config | {"relations": names}) for names in ("city-country", "family:attribute"))
    relations = {relation for relation, _ in several.fits}
    assert several.n_sources > 8
    alone, few, many = (
        stages(estimate(work, DEVICES["h100"], gpus))
        for work, gpus in ((one, 64), (several, 8), (several, 64))
    )
    for name in ("fit", "evaluate"):
        assert alone[name].where == few[name].where == "1 host"
        hosts = -(-min(64, len(relations)) // 8)
        assert many[name].where == f"{hosts} hosts"
        assert few[name].seconds / hosts <= many[name].seconds < 0.6 * few[name].seconds


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
    assert [stage["name"] for stage in eight["stages"]] == ["load", "extract", "ask", "fit", "evaluate"]
    assert any("in a new store set store.shard_rows to 500 or less" in note for note in many["notes"])
    assert list(tmp_path.iterdir()) == []
    assert [path.name for path in llama.iterdir()] == ["config.json"]


# https://huggingface.co/meta-llama/Meta-Llama-3-70B/blob/main/config.json
LLAMA_3_70B = LLAMA_3_8B | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}


def test_a_model_of_several_gpus_has_as_many_fewer_workers(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_70B))
    config = {"model.source": str(tmp_path), "subjects.count": "128000"}
    with pytest.raises(BadInput, match=r"^model: 1\d\d GB .* do not fit into one H100 .*_worker to 2$"):
        estimate(planned(config), DEVICES["h100"], 8)
    work = planned(config | {"cluster.gpus_per_worker": "4"})
    assert work.weight_bytes == 2 * 70_553_706_496
    eight, sixteen = (stages(estimate(work, DEVICES["h100"], gpus)) for gpus in (8, 16))
    assert work.weight_bytes / 4 < eight["extract"].gpu_bytes < work.weight_bytes / 4 + 12e9
    # two workers share 32 shards, and each has the rate of one GPU
    assert eight["extract"].seconds == pytest.approx(64_000 * work.subject_flops / (0.2 * 989e12), rel=0.05)
    assert sixteen["extract"].seconds == pytest.approx(eight["extract"].seconds / 2)
    assert eight["extract"].where == "8 GPUs"
    with pytest.raises(BadInput, match=r"^cluster\.gpus_per_worker: 4 are more than the 2 of --gpus"):
        estimate(work, DEVICES["h100"], 2)


def test_quantised_weights_take_their_bits(tmp_path):
    settings = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_70B | {"quantization_config": settings}))
    work = planned({"model.source": str(tmp_path), "subjects.count": "1000"})
    tables = 2 * 128_256 * 8192  # embeddings and head, which are plain
    norms = 161 * 8192
    assert work.weight_bytes == 2 * (tables + norms) + (70_553_706_496 - tables - norms) * 4.5 / 8
    assert gpu_bytes(work) < 60e9


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--gpus", "eight"], "--gpus: 'eight' is no number of GPUs; write 8, or 8,64 to compare"),
        (["--gpus", "0"], "--gpus: '0' is no number of GPUs"),
        (["--gpus", "8,-8"], "--gpus: '8,-8' is no number of GPUs"),
        (["--gpus", "", "--gpu", "h100"], "--gpus: '' is no number of GPUs"),
        (["--gpus", "1000000000"], "--gpus: 1,000,000,000 are more than there are anywhere; write 1,000,000"),
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
    assert "is not one decoder: its config.json (vit) has no vocab_size" in said
