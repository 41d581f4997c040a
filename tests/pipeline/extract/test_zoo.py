"""Every causal family of transformers, tiny and random: extracted logits against those of plain prompts.

`python -m tests.pipeline.extract.test_zoo` tries all of them and rewrites the table of docs/models.md.
"""

import contextlib
import copy
import io
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import transformers
import yaml

from lincorr.model.load import release_model
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from tests.pipeline.extract.zoo import FAMILIES, TOKENIZER, VARIANTS, WINDOW, save_tiny

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
HEAD = "| `model_type` | short prompts | long prompts | stored, or why refused |\n| --- | --- | --- | --- |\n"

SUBJECTS = ["Rome", "Oslo", "Lima", "Rome Oslo"]
# Two templates of a length share a beginning before the subject, and the words after it but the last.
TEMPLATES = {
    "short": ("of the {} lives in", "of the {} lives of"),
    "long": tuple(
        f"in the city of Rome, the country of Oslo. {{}} lives in the {x} of" for x in ("city", "country")
    ),
}

NAMES = sorted([*FAMILIES, *VARIANTS])
# One of each kind: positions (rotary, learned, ALiBi), windows, experts, states, a decoder, a scale or a head
# in an unusual place, and what is refused.
_FEW = (
    "llama gpt2 bloom gemma3_text mixtral mamba llama4 inkling_text hyperclovax prophetnet bert blt musicgen"
)
FEW = _FEW.split()


@dataclass(frozen=True, slots=True)
class Row:
    """How prompts of two lengths are computed, and what is stored."""

    family: str
    short: str
    long: str
    stored: str

    def __str__(self) -> str:
        return f"| `{self.family}` | {self.short} | {self.long} | {self.stored} |"


def row_of(family: str, folder: Path) -> Row:
    """Extract prompts of both lengths with a tiny model; they must be right, or refused alike in one line."""
    try:
        model = save_tiny(family, folder / "model")
    except ImportError as problem:
        needed = re.findall(r"requires the (\S+) library", str(problem))
        return Row(family, "not tried", "not tried", f"transformers builds it with {needed[0]} only")
    found = {length: extracted(model, length, folder) for length in TEMPLATES}
    release_model()
    (short, stored), (long, of_long) = found["short"], found["long"]
    assert of_long == stored
    return Row(family, short, long, stored)


def extracted(model: Path, length: str, folder: Path) -> tuple[str, str]:
    """Run `lincorr extract`; return the strategy of its passes and what it stored, or why it refused."""
    first, second = (f"{length}-{turn}" for turn in (1, 2))
    relation = {
        "source": {"template": first, "answers": list(CITIES)},
        "target": {"template": second, "answers": list(COUNTRIES)},
    }
    templates = dict(zip((first, second), TEMPLATES[length], strict=True))
    (folder / "subjects.txt").write_text("\n".join(SUBJECTS))
    (folder / f"{length}.yaml").write_text(
        yaml.safe_dump({"templates": templates, "relations": {"x": relation}})
    )
    options = {
        "--model": model,
        "--model-device": "cpu",
        "--model-dtype": "float32",
        "--catalogue": folder / f"{length}.yaml",
        "--relations": "x",
        "--subjects-kind": "strings",
        "--subjects-file": folder / "subjects.txt",
        "--store": folder / f"{length}.zarr",
        "--cluster-batch-tokens": 64,
        "--cluster-kind": "serial",
    }
    with (
        patch("pipeline.plan.plan.measured_flops", return_value=1e9),  # it takes half a second
        contextlib.redirect_stderr(io.StringIO()) as said,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = main(["extract", *(str(part) for option in options.items() for part in option)])
    if code:
        return "refused", refusal(code, said.getvalue(), model)
    store = LogitStore.open(str(folder / f"{length}.zarr"))
    assert_plain(store, templates, model)
    kind = "hidden states" if store.identity.hidden else "logits"
    return store.identity.passes, f"{kind} ({store.identity.head.rpartition(',')[0]})"


def refusal(code: int, said: str, model: Path) -> str:
    """Why a model is refused, in the one line that a user reads."""
    assert code == 2, said
    *before, line = said.strip().splitlines()
    assert not [other for other in before if other.startswith(("error", "Traceback"))], said
    assert line.startswith("error: model: "), said
    return line.removeprefix(f"error: model: {str(model)!r} ").split(";")[0]


def assert_plain(store: LogitStore, templates: dict[str, str], folder: Path) -> None:
    """Every logit is what a model that has seen nothing else says to the prompt alone."""
    untouched = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    for name, text in templates.items():
        ids = np.arange(store.identity.vocabulary_size) if store.identity.hidden else store.column_ids(name)
        stored = store.logits(name, ids, np.arange(len(SUBJECTS)))
        for subject, ours in zip(SUBJECTS, stored, strict=True):
            prompt = TOKENIZER(text.replace("{}", subject), return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                own = (
                    copy.deepcopy(untouched)(prompt, use_cache=False).logits[0, -1, : len(TOKENIZER)].numpy()
                )
            np.testing.assert_allclose(ours, own[ids], rtol=0, atol=1e-3 * own.std())


def rows_of_the_page() -> dict[str, str]:
    _, _, table = PAGE.read_text("utf-8").partition(HEAD)
    return {line.split("`")[1]: line for line in table.splitlines()}


def version_of_the_page() -> str:
    [version] = re.findall(r"transformers (\d+\.\d+)", PAGE.read_text("utf-8"))
    return str(version)


@pytest.mark.filterwarnings("ignore")  # of old architectures about their own code
@pytest.mark.parametrize(
    "family", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_logits_are_those_of_plain_prompts_or_the_model_is_refused(family: str, tmp_path: Path) -> None:
    row = row_of(family, tmp_path)
    if row.short == "not tried":
        pytest.skip(row.stored)
    if transformers.__version__.startswith(version_of_the_page()):
        assert str(row) == rows_of_the_page()[family]


@pytest.mark.skipif(not transformers.__version__.startswith(version_of_the_page()), reason="other families")
def test_the_page_has_every_family() -> None:
    assert list(rows_of_the_page()) == NAMES


def test_prompts_have_the_lengths_that_they_are_named_for() -> None:
    lengths = {
        length: [len(TOKENIZER(text.replace("{}", SUBJECTS[0]))["input_ids"]) for text in texts]
        for length, texts in TEMPLATES.items()
    }
    assert max(lengths["short"]) + 1 <= WINDOW < 2 * WINDOW < min(lengths["long"])


def write_page() -> None:
    """Try every family and variant; put what was found into the page."""
    rows = []
    for family in NAMES:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows.append(row_of(family, Path(folder)))
        print(rows[-1], flush=True)
    text = PAGE.read_text("utf-8")
    text = re.sub(
        r"transformers \d+\.\d+", f"transformers {transformers.__version__.rpartition('.')[0]}", text
    )
    table = HEAD + "".join(f"{row}\n" for row in rows)
    PAGE.write_text(text[: text.index(HEAD.partition("\n")[0])] + table, "utf-8")


if __name__ == "__main__":
    write_page()
