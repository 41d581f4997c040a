"""A sample of every shard, asked again: prompt by prompt, without trees, masks and caches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.prompts.trees import Batch, TreeShape
from lincorr.scores.audit import NOT_AUDITED, Audit, audit_bound
from pipeline.extract.prompts import Prompts

if TYPE_CHECKING:
    from lincorr.model.language_model import LanguageModel

_SHARE = 0.01  # of a shard's subjects, each with one of its prompts
_TOKENS = 512  # of a pass: few enough for any device, since full logits come back


def audit_sample(batches: Sequence[Batch], n_templates: int, seed: int) -> list[tuple[int, int]]:
    """Draw (row, template) pairs: at least one of every tree shape and one of every template."""
    rows: dict[TreeShape, list[int]] = defaultdict(list)
    for batch in batches:
        rows[batch.shape] += batch.rows.tolist()
    rng = np.random.default_rng(seed)
    drawn = [int(rng.choice(of_shape)) for of_shape in rows.values()]
    every = [row for of_shape in rows.values() for row in of_shape]
    missing = max(n_templates, int(_SHARE * len(every))) - len(drawn)
    drawn += rng.choice(every, size=max(0, missing)).tolist()
    return list(dict.fromkeys((row, turn % n_templates) for turn, row in enumerate(drawn)))


def audit_shard(
    model: "LanguageModel",
    batches: Sequence[Batch],
    prompts: Prompts,
    logits: Sequence[NDArray[np.float32]],
    columns: Sequence[NDArray[np.int64]],
    seed: int,
) -> list[Audit]:
    """Ask a sample of the prompts in `batches` again; return what each template's logits differ by.

    Args:
        prompts: of all rows, template by template.
        logits: template by template, (rows, columns), and
        columns: the token ids of those.
    """
    by_length: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, template in audit_sample(batches, len(prompts), seed):
        by_length[len(prompts[template][row])].append((row, template))
    audits = [NOT_AUDITED] * len(prompts)
    for length, pairs in by_length.items():
        size = max(1, _TOKENS // length)
        for start in range(0, len(pairs), size):
            part = pairs[start : start + size]
            own = model.logits(np.array([prompts[template][row] for row, template in part]))
            for (row, template), right in zip(part, own, strict=True):
                difference = np.abs(logits[template][row] - right[columns[template]]).max()
                audits[template] += Audit(1, float(difference / right.std()))
    return audits


def require_audit(audits: Mapping[str, Audit], where: str, compute: str) -> None:
    """Refuse the logits of prompts that share forward passes if one's are not the model's own.

    Args:
        audits: by what was asked, such as "template 'city'".
        where: which part of it, such as "shard 3".

    Raises:
        LincorrError: logits are no numbers, or differ by what rounding does not explain; names the prompt.
    """
    for name, audit in audits.items():
        if np.isnan(audit.difference):
            raise LincorrError(
                f"model.dtype: this model overflows in {compute}: logits of {name}, {where}, are not all "
                "finite; extract into another store"
            )
        if not audit.difference <= audit_bound(compute):
            raise LincorrError(
                f"extract: {where} of {name} was not written: its logits differ from those of plain prompts "
                f"by {audit.difference:.2g} standard deviations, and {compute} explains "
                f"{audit_bound(compute):g}; extract into a new store, which is checked on this run's prompts"
            )
