"""`lincorr plan` and `lincorr plan --gpus` describe one run alike, whatever is asked."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lincorr.errors import BadInput
from lincorr.testing import CITIES, COUNTRIES
from pipeline.config import RunConfig, load_config
from pipeline.plan.plan import make_plan
from pipeline.plan.workload import Workload, workload
from pipeline.prepare.prepare import prepare
from tests.pipeline.plan.configurations import TEXTS


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two relations between cities and countries."""
    sides = [
        {"template": "city", "answers": list(CITIES)},
        {"template": "country", "answers": list(COUNTRIES)},
    ]
    pairs = [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)]
    relations = {
        "there": {"source": sides[0], "target": sides[1], "truth": pairs, "asked": ["{} is in", "of {} in"]},
        "back": {"source": sides[1], "target": sides[0], "truth": [pair[::-1] for pair in pairs]},
    }
    path = tmp_path_factory.mktemp("catalogue") / "toy.yaml"
    path.write_text(yaml.safe_dump({"templates": TEXTS, "relations": relations}))
    return path


ASKED = st.fixed_dictionaries(
    {
        "relations": st.sampled_from(["there", "back", "there,back"]),
        "subjects.count": st.integers(10, 150).map(str) | st.just("all"),
        "subjects.split": st.sampled_from(["grouped", "even-odd"]),
        "store.precision": st.sampled_from(["float32", "float16"]),
        "store.hidden": st.sampled_from(["null", "true", "false"]),
        "store.logits": st.sampled_from(["answers", "all"]),
        "multi_token": st.sampled_from(["false", "true"]),
        # from what the libraries leave nothing of, past what each method needs
        "fit.memory": st.floats(0.3, 0.36).map(str) | st.sampled_from(["0.3501", "0.351", "0.36", "4"]),
        "fit.penalty": st.sampled_from(["null", "0", "0.003"]),
        "fit.method": st.sampled_from(
            ["auto"] * 3 + ["direct", "factored", "gram", "dual", "lowrank", "tiled"]
        ),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED)
def test_both_plans_choose_alike(asked: dict[str, str], toy_model: Path, catalogue: Path) -> None:
    with TemporaryDirectory() as folder:
        fixed = {
            "model.source": str(toy_model),
            "catalogue": str(catalogue),
            "store.path": f"{folder}/run.zarr",
        }
        config = load_config(None, fixed | asked)
        here = result(lambda: plan_here(config))
        on_gpus = result(lambda: workload(config, host_bytes=10**11))
    if isinstance(here, Workload) and isinstance(on_gpus, Workload):
        assert here.fits == on_gpus.fits
        assert here.groups == on_gpus.groups
        assert here.asked == on_gpus.asked
        assert bool(here.asked) == ("there" in asked["relations"])
        assert here.data_bytes == on_gpus.data_bytes
        assert here.head_bytes == on_gpus.head_bytes
    else:
        assert here == on_gpus


def plan_here(config: RunConfig) -> Workload:
    return make_plan(config, prepare(config)).work


def result(made: Callable[[], Workload]) -> Any:
    """What was made, or the refusal in words."""
    try:
        return made()
    except BadInput as refusal:
        return str(refusal)
