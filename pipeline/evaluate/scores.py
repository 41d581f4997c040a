"""Score the maps of a relation, unless the store has their scores."""

from dataclasses import asdict, replace
from typing import Any

from lincorr.errors import BadInput
from lincorr.scores.bootstrap import LEVEL, REPLICATES, row_counts
from lincorr.scores.relation_scores import Coverage, Interval, OtherRelation, RelationScores, SideFacts
from lincorr.solvers.centred import centred
from lincorr.solvers.choose import Choice
from lincorr.solvers.result import Diagnosis, LinearMap
from lincorr.store.cached import cached, is_cached
from lincorr.store.store import LogitStore
from pipeline.evaluate.asked import asked_digest, asked_scores
from pipeline.evaluate.basis import EvaluatedBasis, Others
from pipeline.evaluate.controls import OtherPrompt, identity_r
from pipeline.evaluate.fit_scores import score_fits
from pipeline.evaluate.reading import Texts, heatmap, hubs, strongest
from pipeline.fit.inputs import FitInputs, basis_of, input_digest
from pipeline.fit.sources import SourceCache

_FEW_ROWS = 100
_KEPT_SHARE = 8  # of the memory of a task, one part for rows that figure after figure reads again

_INTERPOLATES = 0.9  # a rank of this share of the rows: W follows their noise


def evaluate_relation(
    store: LogitStore,
    inputs: FitInputs,
    others: Others,
    n_sources: int,
    shared: SourceCache | None = None,
) -> None:
    """Score every map of a relation and store the scores, unless they are there.

    Its maps are those of these inputs (`require_maps`).

    Args:
        others: what serves as controls (`Others.of`).
        n_sources: well-known sources to read out.
        shared: decomposed sources that other relations may use, too.

    Raises:
        StoreDamaged, BadInput: rows or maps are missing or damaged.
    """
    name = inputs.relation.name
    with store.shards.kept(inputs.memory_bytes // _KEPT_SHARE):
        for template in (inputs.source_template, inputs.target_template):
            store.shards.require_whole(template, inputs.test_rows)

        def compute() -> RelationScores:
            return _scores(store, inputs, others, n_sources, shared or SourceCache(store))

        depends_on = _depends_on(store, inputs, others, n_sources)
        cached(store.maps, name, RelationScores, depends_on, compute)


def is_evaluated(store: LogitStore, inputs: FitInputs, others: Others, n_sources: int) -> bool:
    """Whether the store has these scores of a relation; its rows are not looked at."""
    return is_cached(store.maps, inputs.relation.name, _depends_on(store, inputs, others, n_sources))


def require_scores(
    store: LogitStore, inputs: FitInputs, scores: RelationScores, others: Others, n_sources: int
) -> None:
    """Refuse, with BadInput, a relation whose stored scores were found with other settings.

    Which solvers made its maps does not matter: another machine would perhaps choose others.
    """
    as_fitted = {basis_of(fit.name): Choice(fit.method, fit.reason) for fit in scores.fits}
    if not is_evaluated(store, replace(inputs, choices=as_fitted), others, n_sources):
        raise BadInput(
            f"store: the scores of {scores.name!r} in {store.url!r} were found with other subjects, "
            "relations or settings than these; run `lincorr evaluate` first, or name "
            "those that they were found with"
        )


def require_maps(store: LogitStore, inputs: FitInputs) -> None:
    """Refuse, with BadInput, a relation of which a map is missing, or was fitted for other settings."""
    name = inputs.relation.name
    for basis in inputs.choices:
        digest = input_digest(store, inputs, basis)
        for fit in inputs.fit_names(basis):
            found = store.maps.inputs(name, fit)
            if found is None:
                raise BadInput(f"store: {store.url!r} has no map {name!r} / {fit!r}; run `lincorr fit` first")
            if found != digest:
                raise BadInput(
                    f"store: the map {name!r} / {fit!r} in {store.url!r} was fitted to other "
                    "subjects or settings than these; run `lincorr fit` first"
                )


def _depends_on(store: LogitStore, inputs: FitInputs, others: Others, n_sources: int) -> list[Any]:
    """Return all that the scores depend on: the maps' inputs, rows, ground truth, controls, answers."""
    relation = inputs.relation
    templates = [inputs.source_template, inputs.target_template]
    rows = [inputs.test_rows]
    named = [other for other in (others.prompt, others.pair) if other is not None]
    for other in named:
        templates.append(other.inputs.target_template)
        rows.append(inputs.fit_rows)
    return [
        [(basis, input_digest(store, inputs, basis)) for basis in inputs.choices],
        [store.shards.digest(template, part) for template in templates for part in rows],
        [part.tolist() for part in rows],
        list(relation.truth.items()),
        [asdict(_side(inputs, role)) for role in ("source", "target")],
        relation.relation.family,
        [[other.relation, other.inputs.relation.target.ids.tolist()] for other in named],
        templates,
        n_sources,
        asked_digest(store, inputs),
        *(
            names
            for side in (relation.source, relation.target)
            if (names := list(side.longer_names().items()))
        ),
    ]


def _scores(
    store: LogitStore,
    inputs: FitInputs,
    others: Others,
    n_sources: int,
    shared: SourceCache,
) -> RelationScores:
    counts = row_counts(len(inputs.test_rows))
    bases = {basis: EvaluatedBasis(store, inputs, basis, others, counts, shared) for basis in inputs.choices}
    maps = {
        name: store.maps.load(inputs.relation.name, name, columns=shared.columns) for name in inputs.all_fits
    }
    shown = list(inputs.relation.truth)[:n_sources] or inputs.relation.source.ids[:n_sources].tolist()
    read_out = {name: centred(maps[name]) for name in inputs.read_fits}
    reading = inputs.read_fits[-1]
    texts = Texts.of(inputs)
    return RelationScores(
        name=inputs.relation.name,
        family=inputs.relation.relation.family,
        source=_side(inputs, "source"),
        target=_side(inputs, "target"),
        interval=Interval(of="mean r", level=LEVEL, replicates=REPLICATES, rows=len(inputs.test_rows)),
        other_prompt=_other(others.prompt),
        unrelated_pair=_other(others.pair),
        identity=identity_r(store, inputs),
        warnings=tuple(_warnings(inputs, maps)),
        fits=tuple(
            scores
            for basis, evaluated in bases.items()
            for scores in score_fits(
                evaluated, {name: fitted for name, fitted in maps.items() if basis_of(name) == basis}
            )
        ),
        strongest=tuple(strongest(read_out, inputs, token, texts) for token in shown),
        hubs={name: hubs(fitted, inputs, texts) for name, fitted in read_out.items()},
        heatmap=heatmap(reading, read_out[reading], inputs, shown, texts),
        asked=asked_scores(store, inputs),
    )


def _side(inputs: FitInputs, role: str) -> SideFacts:
    side = getattr(inputs.relation.relation, role)
    columns = getattr(inputs.relation, role)
    return SideFacts(
        template=side.template.name,
        text=side.template.text,
        columns=len(columns),
        answers=len(columns) + len(columns.dropped),
        dropped=len(columns.dropped),
        coverage=Coverage(**columns.coverage().as_counts()),
    )


def _other(other: OtherPrompt | None) -> OtherRelation | None:
    if other is None:
        return None
    template = other.inputs.relation.relation.target.template
    return OtherRelation(other.relation, template.name, template.text)


def _warnings(inputs: FitInputs, maps: dict[str, LinearMap]) -> list[str]:
    """Return one sentence for each reason not to trust the scores."""
    found = []
    if len(inputs.test_rows) < _FEW_ROWS:
        found.append(
            f"only {len(inputs.test_rows)} subjects are held out: every score is rough; give more subjects"
        )
    sides = {"source": inputs.relation.source, "target": inputs.relation.target}
    found += [
        f"only one {side} answer is a column: W has nothing to choose from; give more answers, and count "
        "them with `lincorr relations check`"
        for side, columns in sides.items()
        if len(columns) == 1
    ]
    found += [
        f"{name}: {words}" for name, fitted in maps.items() if (words := _interpolates(fitted.diagnosis))
    ]
    return found


def _interpolates(diagnosis: Diagnosis) -> str | None:
    rank, rows = diagnosis.cut.rank, diagnosis.n_rows
    if diagnosis.penalty > 0 or rank < _INTERPOLATES * (rows - 1):
        return None
    return (
        f"{rows:,} subjects are fitted with {rank:,} free directions and no ridge, so that W follows "
        "their noise; read the ridge fit, or give more subjects"
    )
