"""`lincorr study`: many relations of one model, side by side."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from lincorr.errors import BadInput
from lincorr.relations.relation import ALL, EVERY_WORDING
from lincorr.scores.asked import ceiling_share
from lincorr.scores.documents import to_document
from lincorr.scores.relation_scores import DIRECTIONS, RANKS, FitScores, RelationScores, WithHits
from lincorr.scores.results import Results
from lincorr.scores.study import (
    FEWEST_RELATIONS,
    WORDINGS,
    BesidePaper,
    EditedRelation,
    FamilyFit,
    FamilySummary,
    Generalisation,
    Matrix,
    OperatorGroup,
    Spread,
    StateSpectrum,
    Study,
    Wordings,
)
from pipeline.cli.flags import with_settings
from pipeline.cli.output import (
    JsonFlag,
    brief_share,
    cut_names,
    figure,
    interval,
    plain_table,
    print_json,
    say,
    show_table,
    spread,
)
from pipeline.cli.settings import job_with_workers, settings_of

_HEADINGS = {
    "domain": "domain",
    "domain-ridge": "domain-\nridge",
    "vocabulary": "vocab.",
    "vocabulary-ridge": "vocab.-\nridge",
}

_NARROW = ("dom.", "dom.-\nridge", "voc.", "voc.-\nridge")

Families = Sequence[tuple[FamilySummary, list[RelationScores]]]

_GROWTH_HELP = (
    "Relations to follow along the number of subjects: names with commas, all, or none. Default: all."
)


@with_settings
def study(
    config: str | None,
    overrides: dict[str, str],
    *,
    compare_paper: Annotated[
        bool, typer.Option("--compare-paper", help="Compare the paper's figures with those found.")
    ] = False,
    growth: Annotated[str, typer.Option("--growth", help=_GROWTH_HELP, show_default=False)] = "all",
    as_json: JsonFlag = False,
) -> None:
    """Study many relations in one pass; all of them where `relations` names none.

    Does only what the store is missing, and writes pages, plots and tables like run.
    """
    settings = settings_of(config, overrides)
    if "relations" not in settings.model_fields_set:
        settings = settings.model_copy(update={"relations": (ALL,)})
    with job_with_workers(settings, as_json) as job:
        from pipeline.report.tables import write_results  # while workers are made ready
        from pipeline.study.study import StudyOptions
        from pipeline.study.study import study as study_of

        job.require_places(study=True)
        followed = _followed(growth, [relation.name for relation in job.inputs.relations])
        results = study_of(job, StudyOptions(followed, compare_paper))
        page = write_results(results, settings.report_folder())
    if as_json:
        print_json(to_document(results))
        return
    print_study(results)
    say(f"Report: {page}")


def _followed(growth: str, relations: list[str]) -> list[str] | None:
    """Return the relations whose growth is asked for; None is all of them."""
    if growth in ("all", "none"):
        return None if growth == "all" else []
    names = [name.strip() for name in growth.split(",")]
    for name in names:
        if name not in relations:
            raise BadInput(
                f"--growth: {name!r} is no relation of this study; name some of relations, all or none"
            )
    return names


def print_study(results: Results) -> None:
    """Print a study's results: its relations by family, wordings, the paper's figures, matrices, edits.

    Args:
        results: of a study: with `Results.study`.
    """
    study = results.study
    assert study is not None
    by_name = {relation.name: relation for relation in results.relations}
    families = [(family, [by_name[name] for name in family.relations]) for family in study.families]
    fits = [name for name in _HEADINGS if any(family.fit(name) for family in study.families)]
    show_table(_correlations(families, fits))
    show_table(_worth(families, fits[-1]))
    if any(fit.hits for relation in results.relations for fit in relation.fits):
        for direction in DIRECTIONS:
            show_table(_hits(families, fits, direction))
    _print_comparisons(study, fits)


def _print_comparisons(study: Study, fits: Sequence[str]) -> None:
    if study.paraphrases:
        show_table(_paraphrases(study.paraphrases, fits))
    if study.paper is not None:
        show_table(_paper(study.paper, fits))
    for matrix in study.matrices:
        say(_matrix_line(matrix), wrap=True)
    if study.operators:
        show_table(_operators(study.operators))
    if study.spectrum:
        say(_spectrum_line(study.spectrum), wrap=True)
    if study.generalisation:
        print_generalisation(study.generalisation, list(dict.fromkeys((fits[0], fits[-1]))))


def print_generalisation(found: Generalisation, fits: Sequence[str]) -> None:
    """Print generalisation over relations (`pipeline.evaluate.generalisation`), and that of the paper."""
    _print_edited(found, fits, "hit@1, r and generalisation of edits")
    if found.paper is not None:
        _print_edited(found.paper, list(found.paper.fits), "the same of the paper (Llama 3 8B)")


def _print_edited(found: Generalisation, fits: Sequence[str], title: str) -> None:
    show_table(_edited(found.relations, fits, title))
    for fit in fits:
        rho = found.fits[fit]
        if rho.relations >= FEWEST_RELATIONS:
            say(
                f"Spearman's rho of right with hit@1 {figure(rho.hit1, 2)}, with r {figure(rho.r, 2)}, with "
                f"random {figure(rho.random, 2)}; given random: hit@1 {figure(rho.hit1_given_random, 2)}, r "
                f"{figure(rho.r_given_random, 2)}; over {rho.relations} relations ({fit})",
                wrap=True,
            )


def _edited(rows: Sequence[EditedRelation], fits: Sequence[str], title: str) -> Table:
    parts = [(f"{part}\n{_HEADINGS[fit]}", 7) for fit in fits for part in ("hit@1", "r")]
    table = _table(title, [("right", 5), ("random", 6), *parts])
    for row in sorted(rows, key=lambda row: -(row.success or 0.0)):
        cells = [row.success, row.random]
        for name in fits:
            fit = row.fits.get(name)
            cells += [None, None] if fit is None else [fit.hit1, fit.r]
        table.add_row(row.relation, *(figure(cell, 2) for cell in cells))
    return table


def _table(title: str, headings: Sequence[tuple[str, int]]) -> Table:
    """Return a table of relations with columns of figures, each with its width; names are cut to fit."""
    table = plain_table(title, ["relation"])
    cut_names(table)
    for heading, width in headings:
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    return table


def _correlations(families: Families, fits: Sequence[str]) -> Table:
    table = _table("mean held-out Pearson r of each fit", [(_HEADINGS[name], 11) for name in fits])
    for family, relations in families:
        for relation in relations:
            table.add_row(relation.name, *(_plus_minus(relation.fit(name)) for name in fits))
        cells = (_plus_minus(family.fit(name)) for name in fits)
        table.add_row(_total(family), *cells, style="bold", end_section=True)
    table.caption = "± over output columns, in bold lines over relations"
    return table


def _worth(families: Families, fit: str) -> Table:
    """The interval of one fit's r, and r without the relation."""
    headings = ["shuffled", "unrelated", "other\nprompt", "mean\nlogit", "identity"]
    first = [("95 % of r", 9), ("faithful", 9)]
    table = _table(f"what r is worth ({fit})", [*first, *((heading, 6) for heading in headings)])
    for family, relations in families:
        for relation in relations:
            table.add_row(relation.name, *_worth_cells(relation.fit(fit), relation.identity.r))
        cells = _worth_cells(family.fit(fit), family.r_identity)
        table.add_row(_total(family), *cells, style="bold", end_section=True)
    table.caption = (
        "95 %: interval of the mean r over subjects, in bold lines over relations. faithful: share of "
        "subjects with the model's own answer (and of its most frequent, given to all). The others are r "
        "where the relation cannot help: shuffled targets, the answers of another family, the same tokens "
        "after another prompt, a subject's mean logit alone, the same token's logit after the source's prompt"
    )
    return table


def _worth_cells(fit: FitScores | FamilyFit | None, identity: float | None) -> list[str]:
    if fit is None:
        return ["–"] * 6 + [figure(identity, 2)]
    controls = (fit.r_shuffled, fit.r_unrelated, fit.r_other_prompt, fit.r_mean_logit, identity)
    return [interval(fit.r_low, fit.r_high, 2), _faithful(fit), *(figure(r, 2) for r in controls)]


def _faithful(fit: FitScores | FamilyFit) -> str:
    if isinstance(fit, FamilyFit):
        share, constant = fit.faithfulness, fit.faithfulness_constant
    else:
        found = fit.faithfulness
        share, constant = (found.share, found.constant) if found else (None, None)
    return "–" if share is None else f"{brief_share(share)} ({brief_share(constant)})"


def _total(family: FamilySummary) -> str:
    return f"{family.family} ({len(family.relations)})"


def _plus_minus(fit: FitScores | FamilyFit | None) -> str:
    return "–" if fit is None else spread(fit.r, fit.r_std, 2)


def _hits(families: Families, fits: Sequence[str], direction: str) -> Table:
    asked = any(family.ceilings for family, _ in families)
    headings = [*((_HEADINGS[name], 11) for name in fits), ("luck\n@1", 4)]
    headings += [("asked\n@1", 5)] if asked else []
    table = _table(f"hit@1, 3 and 5, {direction}", headings)
    for family, relations in families:
        for relation in relations:
            known = [fit for fit in relation.fits if fit.rates(direction)]
            if known:
                cells = [_three(relation.fit(name), direction) for name in fits]
                cells += [brief_share(known[0].chance(direction, 1))]
                cells += [brief_share(ceiling_share(relation.asked, direction))] if asked else []
                table.add_row(relation.name, *cells)
        pooled = [fit for fit in family.fits if fit.rates(direction)]
        if pooled:
            cells = [_three(family.fit(name), direction) for name in fits]
            cells += [brief_share(pooled[0].chance(direction, 1))]
            cells += [brief_share((family.ceilings or {}).get(direction))] if asked else []
            table.add_row(_total(family), *cells, style="bold", end_section=True)
    table.columns[0].max_width = 14 if asked else 20  # so that eighty columns are enough
    if asked:
        table.caption = "asked: the model asked outright, the best of its prompts, chosen by the truth"
    return table


def _three(fit: WithHits | None, direction: str) -> str:
    if fit is None:
        return "–"
    return " ".join(brief_share(fit.hit(direction, rank)) for rank in RANKS)


def _paraphrases(rows: Sequence[Wordings], fits: Sequence[str]) -> Table:
    headings = [("wordings", 8)]
    for name in fits:
        headings += [(f"r\n{name}", 11), ("hit@1", 11)]
    table = _table("over several wordings of one relation", headings)
    for row in rows:
        cells = []
        for name in fits:
            fit = row.fit(name)
            cells += ["–", "–"] if fit is None else [_spread(fit.r), _spread(fit.hit1)]
        table.add_row(row.relation, str(len(row.wordings)), *cells)
    return table


def _spread(found: Spread | None) -> str:
    return "–" if found is None else spread(found.mean, found.std, 2)


def _paper(rows: Sequence[BesidePaper], fits: Sequence[str]) -> Table:
    narrow = dict(zip(_HEADINGS, _NARROW, strict=True))
    table = plain_table("beside the paper's figures", ["relation"])
    cut_names(table)
    table.add_column("measure", no_wrap=True, min_width=8)
    for heading, width in (("paper", 4), *((narrow[name], 5) for name in fits)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("its model", overflow="ellipsis", no_wrap=True)
    for before, row in zip([None, *rows], rows, strict=False):
        again = before is not None and before.relation == row.relation
        slip = " (!)" if row.note.startswith("slip") else ""
        table.add_row(
            "" if again else row.relation,
            row.measure.replace("influenced ", "").replace("influencing ", ""),
            figure(row.paper, 2) + slip,
            *(figure(row.ours.get(name), 2) for name in fits),
            f"{row.model}, {row.table}",
        )
    table.caption = (
        "another model than the paper's is not expected to have its figures; (!) a likely error of the paper"
    )
    return table


def _matrix_line(matrix: Matrix) -> str:
    known = [r for row in matrix.r for r in row if r is not None]
    mean = sum(known) / len(known) if known else None
    return (
        f"{matrix.family}, every prompt to every other ({matrix.fit}): mean r {figure(mean, 2)} over "
        f"{len(known):,} pairs of {len(matrix.templates)} prompts"
    )


def _operators(groups: Sequence[OperatorGroup]) -> Table:
    headings = [("fit", 7), ("maps", 4), ("r\nown", 4), ("r on\nothers", 6), ("hit@1\nown", 5)]
    headings += [("hit@1\nothers", 6), ("to-\ngether", 6), ("sum of\nalone", 6)]
    short = {name: words.replace("\n", "") for name, words in zip(_HEADINGS, _NARROW, strict=True)}
    table = _table("each map on the rows of others, and how many directions maps need", headings)
    table.columns[0].header = "group"
    for group in groups:
        joint = group.joint
        table.add_row(
            f"{group.name}{EVERY_WORDING}" if group.kind == WORDINGS else group.name,
            short[group.fit],
            str(len(group.relations)),
            *(figure(r, 2) for r in (group.mean_r(own=True), group.mean_r(own=False))),
            *(brief_share(hit1) for hit1 in (group.mean_hit1(own=True), group.mean_hit1(own=False))),
            *("–" if k is None else f"{k:,}" for k in (joint.together, joint.apart)),
        )
    table.caption = (
        "together: directions of the source, the same for all maps, that keep 99 % of each map's r; alone: "
        "each map's own, in sum"
    )
    return table


def _spectrum_line(found: StateSpectrum) -> str:
    together, law = found.together, found.together.law
    return (
        f"Hidden states of {len(found.alone)} templates side by side ({found.rows:,} subjects, "
        f"{found.width * len(found.alone):,} columns): effective rank {together.rank_1:,} at 1 %, "
        f"{together.rank_01:,} at 0.1 %"
        + (f", exponent {law.exponent:.2f} (σ {law.first} to {law.last:,})" if law else "")
        + f"; of each alone {sum(one.rank_1 for one in found.alone):,} at 1 % in sum"
    )
