"""Small results: a relation's scores, and its edits, with only the figures that a test is about."""

from collections.abc import Mapping

from lincorr.scores.experiments import EditScores, UnrelatedScores
from lincorr.scores.relation_scores import (
    Coverage,
    FitScores,
    Heatmap,
    HitRates,
    Hits,
    IdentityScore,
    Interval,
    RelationScores,
    Shares,
    SideFacts,
)

NO_SHARES = Shares(None, None, None)


def hits(hit1: float, of: int = 9) -> Hits:
    """Hit rates of influenced targets only."""
    return Hits(HitRates(hit1, 0.5, 0.6, of=of, chance=NO_SHARES), None)


def fit_scores(name: str, r: float | None, found: Hits | None, control: float = 0.1) -> FitScores:
    """One fit with its r, and the same figure for every control."""
    return FitScores(
        name=name,
        label=name,
        source_columns=4,
        target_columns=4,
        method="direct",
        reason="it is small",
        root_penalty=0.0,
        penalty=0.0,
        rank=4,
        sigma_1=1.0,
        sigma_r=0.5,
        sigma_next=None,
        noise_floor=1e-6,
        identified=True,
        normal_residual=0.0,
        min_norm_residual=0.0,
        r=r,
        r_std=0.1,
        r_low=None,
        r_high=None,
        r2=None,
        spearman=None,
        r_all=None,
        spearman_sample=None,
        sampled_outputs=None,
        r_shuffled=control,
        r_shuffled_std=control,
        r_mean_logit=control,
        r_other_prompt=control,
        r_unrelated=control,
        r_by_target=(),
        hits=found,
        path=(),
    )


def scored(name: str, r: float | None, hit1: float | None, family: str = "f") -> RelationScores:
    """A relation with one fit, domain; hit@1 is None where no pair is known."""
    side = SideFacts("template", "{}", 3, 4, 1, Coverage(3, 1, 0))
    return RelationScores(
        name=name,
        family=family,
        source=side,
        target=side,
        interval=Interval("mean r", 0.95, 400, 9),
        other_prompt=None,
        unrelated_pair=None,
        identity=IdentityScore(None, None, 0),
        warnings=(),
        fits=(fit_scores("domain", r, None if hit1 is None else hits(hit1)),),
        strongest=(),
        hubs={},
        heatmap=Heatmap("domain", (), (), (), ()),
    )


def edit_scores_of(
    relation: str,
    success: float | None,
    *,
    edits: int = 9,
    random: float = 0.1,
    maps: Mapping[str, str] | None = None,
) -> EditScores:
    """The edits of a relation: their rate of success."""
    return EditScores(
        relation=relation,
        edits=edits,
        took=1.0,
        steps=1.0,
        success=success,
        success_low=None,
        success_high=None,
        before=0.0,
        gained=success,
        random=random,
        unchanged=0.0,
        target_columns=4,
        unrelated=UnrelatedScores(None, None, None),
        fits={},
        cases=(),
        options={},
        maps=maps or {},
    )
