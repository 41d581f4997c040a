"""The table of a relation's wordings: how well each predicts, which one is chosen, and what its W says."""

from collections.abc import Mapping

from rich.table import Table

from lincorr.scores.asked import ceiling, share_known
from lincorr.scores.relation_scores import (
    DIRECTIONS,
    INFLUENCED_TARGET,
    INFLUENCING_SOURCE,
    FitScores,
    Hits,
    RelationScores,
)
from lincorr.scores.wordings import Wordings
from pipeline.cli.output import brief_share, figure, plain_table, say, show_table


def show_wordings(wordings: Wordings, relations: Mapping[str, RelationScores]) -> None:
    """Print the wordings of a relation, its best-reading fit in each.

    Args:
        relations: scores by name; of a wording that is not read there are none.
    """
    show_table(_table(wordings, relations))
    for number, wording in enumerate(wordings.wordings, 1):
        say(f"  {number}: {wording.source} → {wording.target}")
    say("")


def _table(wordings: Wordings, relations: Mapping[str, RelationScores]) -> Table:
    chosen = relations[wordings.chosen]
    fit = chosen.reading.name
    heads = ("LOO r", "r", "target@1", "source@1", "as fitted")
    table = plain_table(
        f"{wordings.relation}: {fit} in {len(wordings.wordings)} wordings", ["wording"], heads
    )
    for number, wording in enumerate(wordings.wordings, 1):
        scores = relations.get(wording.name)
        found = scores.fit(fit) if scores else None
        roles = [
            *(["chosen"] if wording.name == wordings.chosen else []),
            *(["first"] if number == 1 else []),
        ]
        label = f"{number} ({', '.join(roles)})" if roles else str(number)
        table.add_row(label, figure(wording.mean_loo_r), *_figures(found))
    if wordings.pooled is not None:
        table.add_section()
        rates = [hit_with_interval(wordings.pooled, way) for way in DIRECTIONS]
        table.add_row("all together", "", "", *rates, "")
    _add_ceiling(table, chosen)
    table.caption = (
        "chosen by leave-one-out r (LOO, mean of the ridge fits), not by the truth. target@1: the strongest "
        "of a source's weights is right; source@1: of a target's; as fitted: the latter uncentred. All "
        "together: the mean of the wordings' maps. Asked outright, the model itself is right that often, "
        "after the best of some prompts"
    )
    return table


def _add_ceiling(table: Table, chosen: RelationScores) -> None:
    """Add the best of what the model says when it is asked outright, and the share of it that W says."""
    best = [ceiling(chosen.asked, direction) for direction in DIRECTIONS]
    if not any(best):
        return
    shares = [share_known(chosen.reading.hit(way, 1), one) for way, one in zip(DIRECTIONS, best, strict=True)]
    table.add_section()
    table.add_row("asked outright", "", "", *(figure(one.share if one else None, 2) for one in best), "")
    table.add_row("share of it", "", "", *(figure(share, 2) for share in shares), "")


def _figures(fit: FitScores | None) -> list[str]:
    """r, hit@1 both ways with their intervals, and the source's hit@1 as W was fitted."""
    if fit is None:
        return [""] * 4
    back = None if fit.hits_as_fitted is None else fit.hits_as_fitted.hit(INFLUENCING_SOURCE, 1)
    return [
        figure(fit.r),
        hit_with_interval(fit, INFLUENCED_TARGET),
        hit_with_interval(fit, INFLUENCING_SOURCE),
        figure(back, 2),
    ]


def hit_with_interval(fit: FitScores | Hits, direction: str) -> str:
    """hit@1 of a direction, with its interval where it has one."""
    share, (low, high) = figure(fit.hit(direction, 1), 2), fit.hit_interval(direction, 1)
    return share if low is None else f"{share} ({brief_share(low)}–{brief_share(high)})"
