"""The table of what the model says when it is asked outright, beside what its maps are read for."""

from rich.table import Table

from lincorr.scores.asked import ceiling, share_known
from lincorr.scores.relation_scores import (
    DIRECTIONS,
    INFLUENCED_TARGET,
    INFLUENCING_SOURCE,
    RANKS,
    AskedScores,
    RelationScores,
)
from pipeline.cli.output import cut_names, figure, plain_table

_PROMPT_WIDTH = 36  # so that eighty columns are enough


def asked_table(relation: RelationScores) -> Table | None:
    """Return the table of a relation; None where it was not asked about."""
    if not relation.asked:
        return None
    figures = ("shots", "hit@1", "@3", "@5", "cal.", "source")
    table = plain_table(f"{relation.name}: the model asked outright", ["prompt"], figures)
    cut_names(table, _PROMPT_WIDTH)
    for one in relation.asked:
        table.add_row(one.asked, str(one.shots), *_cells(one))
    _add_ceiling(table, relation)
    rates = relation.asked[0].hits.rates(INFLUENCED_TARGET)
    table.caption = (
        f"hit@k: a right target has one of the k largest logits after the prompt, {rates.of if rates else 0} "
        "sources; shots: examples told before it, whose sources are not scored; cal.: hit@1 of each logit "
        "less its mean over the sources; source: hit@1 of a target among the sources. The best is chosen by "
        "the truth; share: a map's hit@1 over it"
    )
    return table


def _cells(one: AskedScores) -> list[str]:
    target = [figure(one.hits.hit(INFLUENCED_TARGET, k), 2) for k in RANKS]
    calibrated = None if one.calibrated is None else one.calibrated.at_1
    return [*target, figure(calibrated, 2), figure(one.hits.hit(INFLUENCING_SOURCE, 1), 2)]


def _add_ceiling(table: Table, relation: RelationScores) -> None:
    """Add the best of what was asked, and the share of it that each map is read for."""
    best = {direction: ceiling(relation.asked, direction) for direction in DIRECTIONS}
    target, source = (best[direction] for direction in DIRECTIONS)
    if target is None or source is None:
        return
    table.add_section()
    table.add_row("the best of these", "", *_both(target.share, source.share))
    for fit in relation.fits:
        shares = (share_known(fit.hit(direction, 1), best[direction]) for direction in DIRECTIONS)
        table.add_row(f"share of it: {fit.name}", "", *_both(*shares))


def _both(target: float | None, source: float | None) -> list[str]:
    return [figure(target, 2), "", "", "", figure(source, 2)]
