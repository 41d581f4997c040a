"""Statistics over relations: families, wordings, the paper's figures."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lincorr.relations.paper import GRADIENT, paper_figures
from lincorr.relations.relation import first_wording as without_number
from lincorr.scores.asked import ceiling_share
from lincorr.scores.experiments import GradientScores
from lincorr.scores.moments import deviation
from lincorr.scores.relation_scores import (
    DIRECTIONS,
    INFLUENCED_TARGET,
    RANKS,
    Coverage,
    Figure,
    FitScores,
    HitRates,
    Hits,
    RelationScores,
    Shares,
    WithHits,
)
from lincorr.scores.study import (
    FEWEST_RELATIONS,
    BesidePaper,
    FamilyCoverage,
    FamilyFit,
    FamilyGrowth,
    FamilyPoint,
    FamilySummary,
    GrowthPoint,
    Spread,
    WordingFit,
    Wordings,
)

REPLICATES = 2000


def first_wording(name: str, names: Collection[str]) -> str:
    """Return the relation of which ``name`` is a further wording (``city-country`` of ``city-country.2-3``).

    Args:
        names: the relations that there are; a name whose first wording is not among them is its own.
    """
    first = without_number(name)
    return first if first in names else name


# --- families ------------------------------------------------------------------------------------------


def family_summary(family: str, relations: Sequence[RelationScores]) -> FamilySummary:
    """Sum up a family: means over its relations, and how far they spread.

    Coverage is pooled over all answers; hit rates are means over the relations with a known ground truth.
    """
    return FamilySummary(
        family=family,
        relations=tuple(relation.name for relation in relations),
        coverage=FamilyCoverage(
            source=_coverage([relation.source.coverage for relation in relations]),
            target=_coverage([relation.target.coverage for relation in relations]),
        ),
        r_identity=_mean([relation.identity.r for relation in relations]),
        fits=tuple(_family_fit(name, relations) for name in _fit_names(relations)),
        ceilings=_family_ceilings(relations),
    )


def _family_ceilings(relations: Sequence[RelationScores]) -> dict[str, Figure] | None:
    """Return the mean ceiling of the relations that were asked outright, in both directions."""
    asked = [relation.asked for relation in relations if relation.asked]
    if not asked:
        return None
    return {way: _mean([ceiling_share(one, way) for one in asked]) for way in DIRECTIONS}


def _coverage(counts: Sequence[Coverage]) -> Coverage:
    """Return the share of each kind of answer; their list is never empty."""
    total = sum(one.total for one in counts)
    return Coverage(
        whole=sum(one.whole for one in counts) / total,
        phrase=sum(one.phrase for one in counts) / total,
        subword=sum(one.subword for one in counts) / total,
    )


def _fit_names(relations: Sequence[RelationScores]) -> list[str]:
    return list(dict.fromkeys(fit.name for relation in relations for fit in relation.fits))


def _family_fit(name: str, relations: Sequence[RelationScores]) -> FamilyFit:
    fits = _fits_named(name, relations)
    r = [fit.r for fit in fits if fit.r is not None]
    low, high = interval_over(r)
    return FamilyFit(
        name=name,
        label=fits[0].label,
        relations=len(fits),
        r=_mean(r),
        r_std=deviation(np.array(r)),
        r_low=low,
        r_high=high,
        r_shuffled=_mean([fit.r_shuffled for fit in fits]),
        r_mean_logit=_mean([fit.r_mean_logit for fit in fits]),
        r_other_prompt=_mean([fit.r_other_prompt for fit in fits]),
        r_unrelated=_mean([fit.r_unrelated for fit in fits]),
        hits=_family_hits(fits),
        faithfulness=_mean([fit.faithfulness.share for fit in fits if fit.faithfulness]),
        faithfulness_constant=_mean([fit.faithfulness.constant for fit in fits if fit.faithfulness]),
    )


def _fits_named(name: str, relations: Sequence[RelationScores]) -> list[FitScores]:
    return [fit for relation in relations for fit in relation.fits if fit.name == name]


def _family_hits(fits: Sequence[WithHits]) -> Hits:
    return Hits(*(_family_rates(fits, direction) for direction in DIRECTIONS))


def _family_rates(fits: Sequence[WithHits], direction: str) -> HitRates | None:
    known = [rates for fit in fits if (rates := fit.rates(direction)) is not None and rates.of]
    if not known:
        return None
    at, chance = _mean_shares(known), _mean_shares([rates.chance for rates in known])
    ends = [interval_over([hit for one in known if (hit := one.at(k)) is not None]) for k in RANKS]
    low, high = (Shares(*of) for of in zip(*ends, strict=True))
    bounded = low.at_1 is not None
    return HitRates(
        at.at_1,
        at.at_3,
        at.at_5,
        of=len(known),
        chance=chance,
        low=low if bounded else None,
        high=high if bounded else None,
    )


def _mean_shares(shares: Sequence[Shares]) -> Shares:
    return Shares(
        _mean([one.at_1 for one in shares]),
        _mean([one.at_3 for one in shares]),
        _mean([one.at_5 for one in shares]),
    )


def growth_by_family(
    relations: Sequence[RelationScores], growth: Mapping[str, Sequence[GrowthPoint]]
) -> list[FamilyGrowth]:
    """Return each family's mean growth over its relations.

    A point's r and hits are means over the relations that have them; `relations` says how many there are.

    Args:
        growth: relation -> points.
    """
    found = []
    for family in dict.fromkeys(relation.family for relation in relations):
        members = [r.name for r in relations if r.family == family and r.name in growth]
        alike: dict[tuple[int, str], list[GrowthPoint]] = {}
        for point in (point for name in members for point in growth[name]):
            alike.setdefault((point.subjects, point.fit), []).append(point)
        if alike:
            points = tuple(_mean_point(some) for some in alike.values())
            found.append(FamilyGrowth(family, len(members), points))
    return found


def _mean_point(points: Sequence[GrowthPoint]) -> FamilyPoint:
    return FamilyPoint(
        subjects=points[0].subjects,
        fitted=points[0].fitted,
        fit=points[0].fit,
        relations=len(points),
        r=_mean([point.r for point in points]),
        hits=_family_hits(points),
    )


def interval_over(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of a mean over other relations of this kind (bootstrap).

    Relations are drawn with replacement; None for fewer than 3 of them.
    """
    if len(values) < FEWEST_RELATIONS:
        return None, None
    rng = np.random.default_rng(0)
    means = np.asarray(values)[rng.integers(len(values), size=(REPLICATES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _mean(values: Sequence[Figure]) -> Figure:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# --- paraphrases ---------------------------------------------------------------------------------------


def paraphrases_of(relations: Sequence[RelationScores]) -> list[Wordings]:
    """Show how much a score depends on one wording: relations that were asked in several wordings.

    Of r and of hit@1 (influenced target): mean, deviation and range over wordings.
    """
    names = [relation.name for relation in relations]
    groups: dict[str, list[RelationScores]] = {}
    for relation in relations:
        groups.setdefault(first_wording(relation.name, names), []).append(relation)
    return [
        Wordings(
            relation=name,
            wordings=tuple((relation.source.text, relation.target.text) for relation in group),
            fits=tuple(_over_wordings(fit, group) for fit in _fit_names(group)),
        )
        for name, group in groups.items()
        if len(group) > 1
    ]


def _over_wordings(name: str, group: Sequence[RelationScores]) -> WordingFit:
    fits = _fits_named(name, group)
    hits = [fit.hit(INFLUENCED_TARGET, 1) for fit in fits]
    return WordingFit(name, _spread([fit.r for fit in fits]), _spread(hits))


def _spread(values: Sequence[Figure]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(float(np.mean(known)), deviation(np.array(known)), lowest=min(known), highest=max(known))


# --- beside the paper ----------------------------------------------------------------------------------


def beside_paper(
    relations: Sequence[RelationScores], gradients: Sequence[GradientScores] = ()
) -> list[BesidePaper]:
    """Compare the paper's figures with ours, one row a figure; only measures that a study has.

    Args:
        relations: scores of every relation.
        gradients: gradient correlations, of the relations that have them.
    """
    rows = []
    by_name = {found.relation: found.fits for found in gradients}
    for relation in relations:
        for figure in paper_figures(relation.name):
            ours: dict[str, Figure]
            if figure.measure == GRADIENT:
                ours = {fit.name: fit.r for fit in by_name.get(relation.name, ())}
            else:
                ours = {fit.name: _measured(fit, figure.measure) for fit in relation.fits}
            if any(value is not None for value in ours.values()):
                rows.append(
                    BesidePaper(
                        relation=relation.name,
                        measure=figure.measure,
                        paper=figure.value,
                        model=figure.model,
                        table=figure.table,
                        note=figure.note,
                        ours=ours,
                    )
                )
    return rows


def _measured(fit: FitScores, measure: str) -> Figure:
    """Return what a fit has of a measure that the paper reports."""
    if measure == "pearson":
        return fit.r
    direction, _, rank = measure.partition("@")
    return fit.hit(direction, int(rank)) if direction in DIRECTIONS else None
