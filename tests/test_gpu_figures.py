"""The script of all GPU figures, without a GPU: what it plans, and what a failure leaves."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import gpu
from lincorr.model.files import ModelSpec
from lincorr.model.load import shared_model


def test_a_dry_run_says_what_would_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run"])
    monkeypatch.setattr(gpu, "run_all", None)
    gpu.main()
    said = capsys.readouterr().out
    assert f"commit {gpu.commit()}" in said
    for name in ("pytest -m gpu", "extraction.py", "tiled --rows", "--cluster-workers 2"):
        assert name in said


def test_all_parts_fit_into_twenty_minutes_and_exist(tmp_path: Path) -> None:
    planned = gpu.parts(tmp_path)
    assert sum(part.seconds for part in planned) <= gpu.MOST_SECONDS < 20 * 60
    for _, first, second, *_ in (part.command for part in planned):
        assert importlib.util.find_spec(second) if first == "-m" else (gpu.ROOT / first).exists()


def test_without_a_gpu_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(gpu, "find_card", lambda: None)
    with pytest.raises(SystemExit, match="no GPU"):
        gpu.main()


def test_a_part_that_fails_or_hangs_costs_no_other(tmp_path: Path) -> None:
    """What it started ends with it."""
    sleeper = "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])"
    record = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))"
    hangs = f"import subprocess, sys, time; {sleeper}; {record}; time.sleep(99)"
    codes = {
        "fails": (60, "raise ValueError('no card')"),
        "hangs": (3, hangs),
        "works": (60, "print('1 passed')"),
    }
    planned = [
        gpu.Part(n, limit, [sys.executable, "-c", c], gpu.last_line) for n, (limit, c) in codes.items()
    ]
    rows = gpu.run_all(planned, tmp_path)
    assert [row["figure"] for row in rows] == ["failed: ValueError: no card", "ended after 3 s", "1 passed"]
    started = int((tmp_path / "pid").read_text())
    limit = time.monotonic() + 5
    while psutil.pid_exists(started) and psutil.Process(started).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert (
        gpu.as_table("card", rows).splitlines()[-1]
        == f"| works | pytest -m gpu | 1 passed | {rows[2]['seconds']:.0f} |"
    )


def test_figures_come_from_what_the_parts_write(tmp_path: Path) -> None:
    row = {"way": "loop", "ms_per_prompt": 0.5, "share_of_peak": 0.25, "waited": 0.1}
    found = {"peak_gflops": 2000.0, "ways": [row], "templates": [], "subjects": []}
    (tmp_path / "1B.json").write_text(json.dumps(found))
    assert gpu.ways("1B.json", "", 1.0, tmp_path) == [
        ("products by the weights", "2.0 TFLOP/s"),
        ("loop", "2,000 prompts a second, 25% of products, idle 10%"),
    ]
    assert gpu.prompts('{"prompts": 3000}', 2.0, tmp_path) == [
        ("3,000 prompts, with its start", "1,500 a second")
    ]


def test_a_model_of_other_sizes_is_a_model(toy_model: Path, tmp_path: Path) -> None:
    gpu.write_model(
        tmp_path / "model",
        str(toy_model),
        gpu.ONE_BILLION | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1},
    )
    model = shared_model(ModelSpec(str(tmp_path / "model"), device="cpu"))
    assert model.model.config.hidden_size == 64
