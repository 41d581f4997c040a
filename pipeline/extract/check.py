"""What a worker finds out about the model before a store is made."""

from dataclasses import dataclass

from lincorr.model.checks import check_readout, check_trees, check_trunk
from lincorr.model.files import ModelSpec
from lincorr.model.load import shared_model
from lincorr.model.tuning import tune_batch_tokens
from lincorr.store.identity import Passes
from lincorr.store.store import LogitStore
from pipeline.plan.memory import trial_bytes
from pipeline.plan.workload import shard_rows


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What a worker found out about the model.

    Attributes:
        vocabulary_size, width: of the output head and of the hidden state.
        compute: precision of the weights.
        device: cpu or cuda:N.
        head: the read-out, described.
        linear: whether logits are a linear function of hidden states.
        passes: the forward-pass strategy that reproduces plain prompts.
        batch_tokens, shard_rows: as set, or as tried out.
        difference: largest difference between read-out and the model's own logits.
    """

    vocabulary_size: int
    width: int
    compute: str
    device: str
    head: str
    linear: bool
    passes: Passes
    batch_tokens: int
    shard_rows: int
    difference: float


@dataclass(frozen=True, slots=True)
class CheckTask:
    """Load the model and find out which shortcuts it allows."""

    model: ModelSpec
    batch_tokens: int | None
    shard_rows: int | None
    key: str = "check"


@dataclass(frozen=True, slots=True)
class HeadTask:
    """Load the model and write its output head into a store."""

    model: ModelSpec
    store: str
    key: str = "head"


def check_model(task: CheckTask) -> ModelCheck:
    """Compare the shortcuts with the model's own logits, and try out how many tokens a pass should have."""
    model = shared_model(task.model)
    check = check_readout(model)
    passes: Passes = "whole"
    if check.passed:
        passes = "plain"
        if check_trees(model).passed:
            passes = "trunk" if check_trunk(model).passed else "trees"
    on_gpu = model.device.startswith("cuda")
    rows = shard_rows(task.shard_rows, on_gpu=on_gpu)
    tokens = task.batch_tokens or tune_batch_tokens(
        model.try_pass if passes != "whole" else model.try_whole_pass,
        most=rows * model.TRIAL_LENGTH,
        memory_bytes=trial_bytes(),
    )
    return ModelCheck(
        vocabulary_size=model.vocabulary_size,
        width=model.width,
        compute=model.dtype,
        device=model.device,
        head=model.readout.describe(),
        linear=check.passed and model.readout.kind == "linear",
        passes=passes,
        batch_tokens=tokens,
        shard_rows=rows,
        difference=check.difference,
    )


def store_head(task: HeadTask) -> None:
    """Write the model's output head into a store."""
    LogitStore.open(task.store, write=True).head.write(shared_model(task.model).host_readout())
