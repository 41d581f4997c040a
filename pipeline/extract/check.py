"""What workers find out about the model before a store is made, in parts that two of them do at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lincorr.model.checks import (
    check_batches,
    check_ends,
    check_readout,
    check_trees,
    check_trunk,
    require_numbers,
)
from lincorr.model.device import threads_in_use
from lincorr.model.files import ModelSpec, converted_folder
from lincorr.model.fingerprint import Fingerprint
from lincorr.model.load import shared_model
from lincorr.model.tuned import remembered
from lincorr.model.tuning import tune_batch_tokens
from lincorr.prompts.subjects import Subjects
from lincorr.prompts.trees import Batch
from lincorr.scores.audit import audit_bound
from lincorr.store.identity import Passes
from lincorr.store.store import LogitStore
from pipeline.extract.prompts import prompts_of, template_groups, tree_batches
from pipeline.extract.shard import require_model
from pipeline.plan.memory import trial_bytes
from pipeline.plan.workload import shard_rows
from pipeline.runtime.versions import versions

if TYPE_CHECKING:  # importing torch takes seconds: only where a model is loaded
    from lincorr.model.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What workers found out about the model.

    Attributes:
        vocabulary_size, width: of the output head and of the hidden state.
        compute: precision of the weights.
        quantization: how they are quantised; empty where they are not.
        device: cpu or cuda:N.
        head: the read-out, described, and
        capped: whether it is soft-capped.
        passes: the forward-pass strategy that reproduces plain prompts.
        ends_only: whether they compute the last feed-forward network only where prompts end.
        batch_tokens, shard_rows: as set, or as tried out.
        difference: largest difference between read-out and the model's own logits.
        bfloat16_speedup: how many times as fast its products would be in bfloat16.
    """

    vocabulary_size: int
    width: int
    compute: str
    quantization: str
    device: str
    head: str
    capped: bool
    passes: Passes
    ends_only: bool
    batch_tokens: int
    shard_rows: int
    difference: float
    bfloat16_speedup: float

    @property
    def linear(self) -> bool:
        """Whether logits are a linear function of hidden states."""
        return self.passes != "whole" and not self.capped


@dataclass(frozen=True, slots=True)
class CheckTask:
    """A model to load, and the prompts for which it is to be found out which shortcuts it allows.

    Attributes:
        fingerprint: digests that the worker's copy of the model must have.
        templates: of the run, name -> text.
        subjects: of the run, among them those with the longest and the shortest prompts.
    """

    model: ModelSpec
    fingerprint: Fingerprint
    templates: Mapping[str, str]
    subjects: Subjects
    batch_tokens: int | None
    shard_rows: int | None


@dataclass(frozen=True, slots=True)
class HeadTask:
    """Load the model and write its output head into a store."""

    model: ModelSpec
    fingerprint: Fingerprint
    store: str
    key: str = "head"


def check_model(task: CheckTask) -> ModelCheck:
    """Compare the read-out with the model's own logits, and try out how many tokens a pass should have.

    Its strategy is plain prompts, or whole passes where hidden states do not lead to the logits.

    Raises:
        BadInput: the model's logits are no numbers.
        LincorrError: this worker's copy of the model is not the one that the run was planned with.
    """
    from lincorr.model.precision import bfloat16_speedup  # imports torch

    model = _loaded(task)
    require_numbers(model)
    check = check_readout(model)
    on_gpu = model.device.startswith("cuda")
    rows = shard_rows(task.shard_rows, on_gpu=on_gpu)
    tokens = task.batch_tokens or _tuned(model, task, rows, by_states=check.passed)
    return ModelCheck(
        vocabulary_size=model.vocabulary_size,
        width=model.width,
        compute=model.dtype,
        quantization=model.quantization,
        device=model.device,
        head=model.readout.describe(),
        capped=model.readout.kind != "linear",
        passes="plain" if check.passed else "whole",
        ends_only=check.passed and check_ends(model).passed,
        batch_tokens=tokens,
        shard_rows=rows,
        difference=check.difference,
        bfloat16_speedup=bfloat16_speedup(model),
    )


def check_merging(task: CheckTask) -> tuple[Passes, ...]:
    """Return the strategies that reproduce random prompts, the fastest first.

    Raises:
        LincorrError: as `check_model`.
    """
    model = _loaded(task)
    if not check_trees(model).passed:
        return ("plain",)
    return ("trunk", "trees", "plain") if check_trunk(model).passed else ("trees", "plain")


def check_prompts(task: CheckTask, strategies: Sequence[Passes], check: ModelCheck) -> Passes:
    """Return the first strategy that reproduces the run's own prompts, in batches as theirs; or "whole".

    Args:
        check: what `check_model` found.

    Raises:
        LincorrError: as `check_model`.
    """
    model = _loaded(task)
    bound = audit_bound(model.dtype)
    for passes in strategies:
        batches: list[Batch] = []
        for group in template_groups(model.tokenizer, task.templates, passes):
            templates = list(group.values())
            prompts = prompts_of(model.tokenizer, templates, task.subjects)
            batches += tree_batches(
                prompts, templates, task.subjects, passes, check.batch_tokens, check.shard_rows
            )
        if check_batches(model, batches, bound, ends_only=check.ends_only).passed:
            return passes
    return "whole"


def _loaded(task: CheckTask) -> "LanguageModel":
    require_model(task.model, task.fingerprint)
    return shared_model(task.model)


def _tuned(model: "LanguageModel", task: CheckTask, shard_rows: int, *, by_states: bool) -> int:
    """Return how many tokens a pass should have, tried out once for a converted model on this machine."""
    most, memory = shard_rows * model.TRIAL_LENGTH, trial_bytes()
    trial = model.try_pass if by_states else model.try_whole_pass
    facts = {
        "model": task.fingerprint.short,
        "device": model.device,
        "gpus": task.model.gpus,
        "dtype": model.dtype,
        "by_states": by_states,
        "threads": threads_in_use(),
        "memory": memory.bit_length(),
        "most": most,
        "lincorr": versions()["lincorr"],
    }
    return remembered(
        converted_folder(task.model),
        facts,
        lambda: tune_batch_tokens(trial, most=most, memory_bytes=memory),
    )


def store_head(task: HeadTask) -> None:
    """Write the model's output head into a store.

    Raises:
        LincorrError: this worker's copy of the model is not the one that the run was planned with.
    """
    require_model(task.model, task.fingerprint)
    LogitStore.open(task.store, write=True).head.write(shared_model(task.model).host_readout())
