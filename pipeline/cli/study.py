"""`lincorr study`: many relations of one model, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lincorr.errors import BadInput
from lincorr.scores.results import DIRECTIONS, RANKS, hit
from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, print_json
from pipeline.cli.settings import settings_of

_HEADINGS = {
    "domain": "domain",
    "domain-ridge": "domain-\nridge",
    "vocabulary": "vocab.",
    "vocabulary-ridge": "vocab.-\nridge",
}

_NARROW = ("dom.", "dom.-\nridge", "voc.", "voc.-\nridge")

_FEWEST_RELATIONS = 3  # of which a rank correlation is told

_CONTROLS = ("r_shuffled", "r_unrelated", "r_other_prompt", "r_mean_logit")


Json = dict[str, Any]

_GROWTH_HELP = (
    "Relations to follow along the number of subjects: names with commas, all, or none. Default: all."
)


@with_settings
def study(
    config: Path | None,
    overrides: dict[str, str],
    *,
    compare_paper: Annotated[
        bool, typer.Option("--compare-paper", help="Set the paper's figures beside those found.")
    ] = False,
    paraphrases: Annotated[
        bool, typer.Option("--paraphrases", help="Ask every relation in its further wordings, too.")
    ] = False,
    growth: Annotated[str, typer.Option("--growth", help=_GROWTH_HELP)] = "all",
    as_json: JsonFlag = False,
) -> None:
    """Study many relations in one pass, side by side; all of them where `relations` names none.

    Does only what the store lacks, and writes pages, plots and tables like run.
    """
    from pipeline.report.tables import write_results
    from pipeline.run import Run
    from pipeline.runtime.console import Narrator
    from pipeline.study.study import StudyOptions, chosen_relations, names_of
    from pipeline.study.study import study as study_of

    settings = chosen_relations(settings_of(config, overrides), paraphrases=paraphrases)
    job = Run(settings, Narrator(quiet=as_json))
    document = study_of(job, StudyOptions(_followed(growth, names_of(job)), compare_paper))
    page = write_results(document, settings.report_folder())
    if as_json:
        print_json(document)
        return
    from rich.console import Console

    print_study(document)
    Console().print(f"Report: {page}", soft_wrap=True, markup=False, highlight=False)


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


def print_study(document: Json) -> None:
    """Print what a study found: its relations by family, and what was set beside."""
    console = Console()
    study = document["study"]
    by_name = {relation["name"]: relation for relation in document["relations"]}
    families = [(family, [by_name[name] for name in family["relations"]]) for family in study["families"]]
    fits = [
        name for name in _HEADINGS if any(name == f["name"] for family, _ in families for f in family["fits"])
    ]
    console.print(_correlations(families, fits))
    console.print(_worth(families, fits[-1]))
    if any(fit["hits"] for relation in document["relations"] for fit in relation["fits"]):
        for direction in DIRECTIONS:
            console.print(_hits(families, fits, direction))
    if study["paraphrases"]:
        console.print(_paraphrases(study["paraphrases"], fits))
    if study["paper"] is not None:
        console.print(_paper(study["paper"], fits))
    for matrix in study["matrices"]:
        console.print(_matrix_line(matrix), highlight=False, markup=False)
    if study["generalisation"]:
        print_generalisation(study["generalisation"], list(dict.fromkeys((fits[0], fits[-1]))), console)


def print_generalisation(found: Mapping[str, Any], fits: Sequence[str], console: Console) -> None:
    """Print what `pipeline.evaluate.generalisation` found over relations, and the same of the paper."""
    for title, told, shown in (
        ("hit@1, r and generalisation of edits", found, fits),
        ("the same of the paper (Llama 3 8B)", found["paper"], list(found["paper"]["fits"])),
    ):
        console.print(_edited(told["relations"], shown, title))
        for fit in shown:
            rho = told["fits"][fit]
            if rho["relations"] >= _FEWEST_RELATIONS:
                console.print(
                    f"Spearman's rho of right with hit@1 {figure(rho['hit1'], 2)}, with r "
                    f"{figure(rho['r'], 2)}, with random {figure(rho['random'], 2)}; given random: hit@1 "
                    f"{figure(rho['hit1_given_random'], 2)}, r {figure(rho['r_given_random'], 2)}; over "
                    f"{rho['relations']} relations ({fit})",
                    highlight=False,
                    markup=False,
                )


def _edited(rows: Sequence[Mapping[str, Any]], fits: Sequence[str], title: str) -> Table:
    parts = [(f"{part}\n{_HEADINGS[fit]}", 7) for fit in fits for part in ("hit@1", "r")]
    table = _table(title, [("right", 5), ("random", 6), *parts])
    for row in sorted(rows, key=lambda row: -(row["success"] or 0.0)):
        rates = (figure(row[key], 2) for key in ("success", "random"))
        of_fits = (figure(row["fits"].get(fit, {}).get(key), 2) for fit in fits for key in ("hit1", "r"))
        table.add_row(Text(row["relation"]), *rates, *of_fits)
    return table


def _table(title: str, headings: Sequence[tuple[str, int]]) -> Table:
    """Return a table of relations with columns of figures, each with its width; names give way to them."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("relation", no_wrap=True, overflow="ellipsis")
    for heading, width in headings:
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    return table


def _fit(relation: Json, name: str) -> Json:
    return next((fit for fit in relation["fits"] if fit["name"] == name), {})


def _correlations(families: Sequence[tuple[Json, list[Json]]], fits: Sequence[str]) -> Table:
    table = _table("mean held-out Pearson r of each fit", [(_HEADINGS[name], 11) for name in fits])
    for family, relations in families:
        for relation in relations:
            table.add_row(Text(relation["name"]), *(_plus_minus(_fit(relation, name)) for name in fits))
        table.add_row(
            _total(family),
            *(_plus_minus(_fit(family, name)) for name in fits),
            style="bold",
            end_section=True,
        )
    table.caption = "± over output columns, in bold lines over relations"
    return table


def _worth(families: Sequence[tuple[Json, list[Json]]], fit: str) -> Table:
    """The interval of one fit's r, and what r is without the relation."""
    headings = ["shuffled", "unrelated", "other\nprompt", "mean\nlogit", "identity"]
    table = _table(f"what r is worth ({fit})", [("95 % of r", 9), *((heading, 6) for heading in headings)])
    for family, relations in families:
        for relation in relations:
            table.add_row(
                Text(relation["name"]), *_worth_cells(_fit(relation, fit), relation["identity"]["r"])
            )
        cells = _worth_cells(_fit(family, fit), family["r_identity"])
        table.add_row(_total(family), *cells, style="bold", end_section=True)
    table.caption = (
        "95 %: interval of the mean r over subjects, in bold lines over relations. The others are r where "
        "the relation cannot help: shuffled targets, the answers of another family, the same tokens after "
        "another prompt, a subject's mean logit alone, the same token's logit after the source's prompt"
    )
    return table


def _worth_cells(fit: Json, identity: float | None) -> list[str]:
    low, high = fit.get("r_low"), fit.get("r_high")
    interval = "–" if low is None else f"{figure(low, 2)}–{figure(high, 2)}"
    return [interval, *(figure(fit.get(key), 2) for key in _CONTROLS), figure(identity, 2)]


def _total(family: Json) -> Text:
    return Text(f"{family['family']} ({len(family['relations'])})")


def _plus_minus(fit: Json) -> str:
    if not fit:
        return "–"
    return f"{figure(fit['r'], 2)} ± {figure(fit['r_std'], 2)}"


def _hits(families: Sequence[tuple[Json, list[Json]]], fits: Sequence[str], direction: str) -> Table:
    headings = [*((_HEADINGS[name], 11) for name in fits), ("luck\n@1", 4)]
    table = _table(f"hit@1, 3 and 5, {direction}", headings)
    for family, relations in families:
        for relation in relations:
            found = next((fit["hits"][direction] for fit in relation["fits"] if fit["hits"]), None)
            if found:
                cells = [_three(_fit(relation, name), direction) for name in fits]
                table.add_row(Text(relation["name"]), *cells, _share(found["chance"]["1"]))
        known = next((fit["hits"][direction] for fit in family["fits"] if fit["hits"][direction]), None)
        if known:
            cells = [_three(_fit(family, name), direction) for name in fits]
            chance = _share(known["chance"]["1"])
            table.add_row(_total(family), *cells, chance, style="bold", end_section=True)
    table.columns[0].max_width = 20  # and eighty columns are enough
    return table


def _three(fit: Json, direction: str) -> str:
    if not fit:
        return "–"
    return " ".join(_share(hit(fit, direction, rank)) for rank in RANKS)


def _share(value: float | None) -> str:
    """A share in three characters."""
    text = figure(value, 2)
    return "1.0" if text == "1.00" else text.removeprefix("0")


def _paraphrases(rows: Sequence[Json], fits: Sequence[str]) -> Table:
    headings = [("wordings", 8)]
    for name in fits:
        headings += [(f"r\n{name}", 11), ("hit@1", 11)]
    table = _table("over several wordings of one relation", headings)
    for row in rows:
        cells = []
        for name in fits:
            fit = _fit(row, name)
            for what in ("r", "hit1"):
                found = fit.get(what)
                cells.append(f"{figure(found['mean'], 2)} ± {figure(found['std'], 2)}" if found else "–")
        table.add_row(Text(row["relation"]), str(len(row["wordings"])), *cells)
    return table


def _paper(rows: Sequence[Json], fits: Sequence[str]) -> Table:
    narrow = dict(zip(_HEADINGS, _NARROW, strict=True))
    table = Table(title="beside the paper's figures", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("relation", no_wrap=True, overflow="ellipsis")
    table.add_column("measure", no_wrap=True, min_width=8)
    for heading, width in (("paper", 4), *((narrow[name], 5) for name in fits)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("its model", overflow="ellipsis", no_wrap=True)
    for before, row in zip([None, *rows], rows, strict=False):
        again = before is not None and before["relation"] == row["relation"]
        slip = " (!)" if row["note"].startswith("slip") else ""
        table.add_row(
            Text("" if again else row["relation"]),
            Text(row["measure"].replace("influenced ", "").replace("influencing ", "")),
            figure(row["paper"], 2) + slip,
            *(figure(row["ours"].get(name), 2) for name in fits),
            Text(f"{row['model']}, {row['table']}"),
        )
    table.caption = (
        "another model than the paper's is not expected to have its figures; (!) a likely slip of the paper"
    )
    return table


def _matrix_line(matrix: Json) -> str:
    known = [r for row in matrix["r"] for r in row if r is not None]
    mean = sum(known) / len(known) if known else None
    return (
        f"{matrix['family']}, every prompt to every other ({matrix['fit']}): mean r {figure(mean, 2)} over "
        f"{len(known):,} pairs of {len(matrix['templates'])} prompts"
    )
