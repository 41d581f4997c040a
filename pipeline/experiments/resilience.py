"""Fit on one model's logits, test on another's: does W outlive training?

The model *before* and the model *after* have a store each, with the same subjects, prompts and answers. Every
map of either is tested on the held-out subjects of both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import as_float64
from lincorr.errors import BadInput
from lincorr.model.files import is_adapter
from lincorr.relations.paper import reported
from lincorr.scores.bootstrap import mean_interval, replicated_pearson, row_counts
from lincorr.scores.experiments import (
    BothFigures,
    BothHits,
    CrossScore,
    FitResilience,
    ModelAndStore,
    RelationResilience,
    ResilienceResults,
)
from lincorr.scores.moments import Correlation, deviation, finite_mean
from lincorr.solvers.result import Factors, LinearMap
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.predictions import logit_blocks
from pipeline.evaluate.reading import hit_rates
from pipeline.fit.inputs import FitInputs
from pipeline.fit.sources import SourceCache
from pipeline.run import Run

Floats = NDArray[np.float64]

SIDES = ("before", "after")
_PAPER = "pearson after post-training"
_BLOCK_ROWS = 8192  # of W at once


@dataclass(frozen=True, slots=True)
class ResilienceOptions:
    """The model after.

    Attributes:
        after: its source; a folder with an adapter is taken on top of the model before.
        store: its store; None: as `RunConfig.store_url` names it.
    """

    after: str
    store: str | None = None


def settings_after(config: RunConfig, options: ResilienceOptions) -> RunConfig:
    """Return the same settings for the model after.

    Raises:
        BadInput: both models would have one store, or an adapter on an adapter is asked for.
    """
    after = options.after
    if is_adapter(after):
        if config.model.adapter is not None:
            raise BadInput(
                f"--after: {after!r} is an adapter, and the model before has one already; merge that into a "
                "folder of its own, and name it as --before"
            )
        model = config.model.model_copy(update={"adapter": after})
    else:
        model = config.model.model_copy(update={"source": after, "adapter": None, "revision": None})
    stores = config.store.model_copy(update={"path": options.store})
    found = config.model_copy(update={"model": model, "store": stores})
    if found.store_url() == config.store_url():
        raise BadInput(
            f"--after-store: both models would have the store {config.store_url()!r}; name another for the "
            "model after"
        )
    return found


def require_same_tokens(before: Run, after: Run) -> None:
    """Check that both models read and write the same tokens.

    Raises:
        BadInput: they do not.
    """
    texts = [run.inputs.token_texts for run in (before, after)]
    for token, (one, other) in enumerate(zip(*texts, strict=False)):
        if one != other:
            raise BadInput(
                f"--after: the tokenizers differ: token {token} is {one!r} before and {other!r} after; W "
                "maps tokens, so compare models of one tokenizer"
            )
    if len(texts[0]) != len(texts[1]):
        raise BadInput(
            f"--after: the tokenizers differ: {len(texts[0]):,} tokens before and {len(texts[1]):,} after; W "
            "maps tokens, so compare models of one tokenizer"
        )
    if before.inputs.sample != after.inputs.sample:
        raise BadInput(
            "--after: the tokenizers have the same tokens, but cut prompts differently (see add_bos_token "
            "and merges.txt); compare models of one tokenizer"
        )


def resilience(run: Run, options: ResilienceOptions) -> ResilienceResults:
    """Extract and fit what the store of either model is missing; score every map on both models.

    A relation that is asked in several wordings is compared in those that the model before is read in.

    Args:
        run: of the model before.

    Raises:
        BadInput: the tokenizers differ, or a setting cannot be met; nothing was changed then.
        LincorrError: a run failed; what was done is stored.
    """
    before, after = run, Run(settings_after(run.config, options), run.narrator)
    require_same_tokens(before, after)
    plans = before.plan(), after.plan()  # both may be refused
    for side, one, plan in zip(SIDES, (before, after), plans, strict=True):
        one.narrator.tell(f"The model {side}: {one.config.model.spec().described}")
        one.extract(plan)
        one.fit()
    stores = before.store(), after.store()
    shared = SourceCache(stores[0]), SourceCache(stores[1])
    read = before.read(stores[0])  # the model after would choose other wordings
    relations = zip(before.fit_inputs(stores[0], read), after.fit_inputs(stores[1], read), strict=True)
    models = [
        ModelAndStore(one.config.model.spec().described, store.url)
        for one, store in zip((before, after), stores, strict=True)
    ]
    return ResilienceResults(
        before=models[0],
        after=models[1],
        subjects=tuple(len(rows) for rows in before.split()),
        relations=tuple(_relation(stores, inputs, shared) for inputs in relations),
    )


def _relation(
    stores: tuple[LogitStore, LogitStore],
    inputs: tuple[FitInputs, FitInputs],
    shared: tuple[SourceCache, SourceCache],
) -> RelationResilience:
    relation = inputs[0].relation
    fits = []
    for name in inputs[0].all_fits:
        maps = [
            store.maps.load(relation.name, name, columns=decomposed.columns)
            for store, decomposed in zip(stores, shared, strict=True)
        ]
        same, permuted = cosines(maps[0], maps[1])
        fits.append(
            FitResilience(
                name=name,
                root_penalty=BothFigures(*(fitted.diagnosis.root_penalty for fitted in maps)),
                scores=tuple(_scores(maps, stores, inputs, shared)),
                cosine=same,
                cosine_permuted=permuted,
                hits=BothHits(*(hit_rates(w, about)[0] for w, about in zip(maps, inputs, strict=True))),
            )
        )
    paper = reported(relation.name, _PAPER)
    return RelationResilience(relation.name, relation.relation.family, tuple(fits), paper)


def _scores(
    maps: list[LinearMap],
    stores: tuple[LogitStore, LogitStore],
    inputs: tuple[FitInputs, FitInputs],
    shared: tuple[SourceCache, SourceCache],
) -> Iterator[CrossScore]:
    """Test both maps on the held-out rows of both stores."""
    counts = row_counts(len(inputs[0].test_rows))
    for tested, store, of_store, head in zip(SIDES, stores, inputs, shared, strict=True):
        rows = of_store.test_rows
        true = as_float64(store.logits(of_store.target_template, maps[0].target_ids, rows))
        for fitted, linear_map in zip(SIDES, maps, strict=True):
            predicted = predictions(linear_map, store, of_store.source_template, rows, head)
            r = Correlation.of(predicted, true).pearson()
            low, high = mean_interval(replicated_pearson(predicted, true, counts))
            yield CrossScore(fitted, tested, finite_mean(r), deviation(r), r_low=low, r_high=high)


def predictions(
    fitted: LinearMap, store: LogitStore, template: str, rows: NDArray[np.int64], shared: SourceCache
) -> Floats:
    """Return the target logits (n, q) that a map, of whatever model, predicts from a store's source logits.

    A full vocabulary of source logits is never formed where the store has hidden states: with
    ``logits = scale (H Eᵀ + bias)``, ``logits W = H (scale Eᵀ W) + scale bias W``.
    """
    weights = fitted.weights
    if not (isinstance(weights, Factors) and store.identity.hidden):
        blocks = logit_blocks(store, template, fitted.source_ids, rows)
        return np.concatenate([fitted.predict(block) for block in blocks])
    head = shared.columns(fitted.source_ids)
    # the states, and the bias as one more row of logits
    through = head.scale * (head.weight.T @ weights.left)
    predicted = ((as_float64(store.hidden(template, rows)) @ through) @ weights.core) @ weights.right.T
    if head.bias is not None:
        predicted += head.scale * (((head.bias @ weights.left) @ weights.core) @ weights.right.T)
    total: Floats = predicted + fitted.intercept
    return total


def cosines(a: LinearMap, b: LinearMap) -> tuple[float, float]:
    """Return the cosine between the weights of two maps of the same tokens, and what it is by chance.

    By chance: its mean over the ways to give every target of one the column of another target. What all
    columns of both have in common, such as hubs, is in it.
    """
    sources, targets = a.source_ids, a.target_ids.tolist()
    cross, norms = np.zeros((len(targets), len(targets))), np.zeros(2)
    for start in range(0, len(sources), _BLOCK_ROWS):
        rows = sources[start : start + _BLOCK_ROWS].tolist()
        one, other = as_float64(a.block(rows, targets)), as_float64(b.block(rows, targets))
        cross += one.T @ other
        norms += np.sum(one**2), np.sum(other**2)
    size = float(np.sqrt(norms.prod()))
    if size == 0:
        return float("nan"), float("nan")
    same, q = float(np.trace(cross)), len(targets)
    others = (float(cross.sum()) - same) / (q - 1) if q > 1 else float("nan")
    return same / size, others / size
