"""`lincorr run` and its five verbs, and the table of scores."""

from rich.table import Table

from lincorr.scores.documents import to_document
from lincorr.scores.relation_scores import INFLUENCED_TARGET, RANKS, RelationScores
from lincorr.scores.results import Results
from pipeline.cli.asked import asked_table
from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, interval, plain_table, print_json, say, show_table, spread
from pipeline.cli.settings import job, job_with_workers, settings_of
from pipeline.cli.wordings import hit_with_interval, show_wordings

_HIT_HEADINGS = ("hit@1", "@3", "@5")  # of `RANKS`
_SOURCES = 12  # whose strongest targets are shown


def print_results(results: Results) -> None:
    """Print the scores of every relation, and what its W says; of several wordings in the chosen one."""
    by_name = {relation.name: relation for relation in results.relations}
    for note in results.notes:
        say(f"Note: {note}", wrap=True)
    beside: set[str] = set()  # wordings that are not chosen
    for wordings in results.wordings or ():
        show_wordings(wordings, by_name)
        beside |= set(wordings.names) - {wordings.chosen}
    for relation in results.relations:
        show_table(_scores_table(relation))
        if relation.name in beside:
            continue
        if (asked := asked_table(relation)) is not None:
            show_table(asked)
        show_table(_worth_table(relation))
        for words in (_worth_notes(relation), *(f"Warning: {text}" for text in relation.warnings)):
            say(words, wrap=True)
        say("")
        show_table(_links_table(relation))


def _scores_table(relation: RelationScores) -> Table:
    figures = ("√λ/σ₁", "Pearson r", "R²", *_HIT_HEADINGS)
    table = plain_table(f"{relation.name}: held-out score of each fit", ["fit"], figures)
    for fit in relation.fits:
        table.add_row(
            fit.name + ("" if fit.identified else " (!)"),
            f"{fit.root_penalty:.3g}",
            spread(fit.r, fit.r_std),
            figure(fit.r2),
            hit_with_interval(fit, INFLUENCED_TARGET),
            *(figure(fit.hit(INFLUENCED_TARGET, k), 2) for k in RANKS[1:]),
        )
    notes = []
    known = next((rates for fit in relation.fits if (rates := fit.rates(INFLUENCED_TARGET))), None)
    if known:
        table.add_row("by chance", *[""] * 3, *(figure(known.chance.at(k), 2) for k in RANKS))
        notes.append(
            "hit@k: a right target is among the k strongest of a source's row of W, "
            f"{known.of} source{'s' if known.of > 1 else ''}"
            + (" (95 % interval over them)" if known.low else "")
        )
    if not all(fit.identified for fit in relation.fits):
        notes.append("(!) the rank is not clear: do not read W")
    table.caption = "\n".join(notes)
    return table


def _worth_table(relation: RelationScores) -> Table:
    """The interval of r, and r without the relation (see `pipeline.evaluate.controls`)."""
    other = ["other\nprompt"] if relation.other_prompt else []
    figures = ["95 % of r", "faithful", "Spearman", "shuffled", "mean\nlogit", *other]
    table = plain_table(f"{relation.name}: what r is worth", ["fit"], figures)
    for fit in relation.fits:
        cells = [
            interval(fit.r_low, fit.r_high),
            figure(fit.faithfulness.share if fit.faithfulness else None, 2),
            figure(fit.spearman),
            spread(fit.r_shuffled, fit.r_shuffled_std, 2),
            figure(fit.r_mean_logit),
            *([figure(fit.r_other_prompt)] if other else []),
        ]
        table.add_row(fit.name, *cells)
    return table


def _worth_notes(relation: RelationScores) -> str:
    controls = ["with shuffled targets", "from nothing but a subject's mean logit"]
    if relation.other_prompt:
        controls.append(f"for the same tokens after another prompt, {relation.other_prompt.text!r}")
    return (
        "95 % of r: interval of the mean r over subjects (± above is over columns). The columns right of "
        f"Spearman are r where the relation cannot help: {', '.join(controls[:-1])}, or {controls[-1]}."
        f"{_identity_note(relation)}{_faithful_note(relation)}"
    )


def _faithful_note(relation: RelationScores) -> str:
    found = next((fit.faithfulness for fit in relation.fits if fit.faithfulness), None)
    if found is None:
        return ""
    return (
        " faithful: share of subjects whose largest predicted logit is the model's own largest; its most "
        f"frequent answer, given to all, reaches {figure(found.constant, 2)}."
    )


def _identity_note(relation: RelationScores) -> str:
    r = relation.identity.r
    if r is None:
        return ""
    return f" The same token's logit after the source's prompt, without any fit, gives {figure(r)}."


def _links_table(relation: RelationScores) -> Table:
    shown = list(relation.strongest[0].by_fit) if relation.strongest else []  # some methods have no "domain"
    table = plain_table(f"{relation.name}: strongest targets of each fit (✓ right)")
    for heading in ("source", *shown):
        table.add_column(heading)
    for row in relation.strongest[:_SOURCES]:
        cells = (
            ", ".join(link.token.strip() + (" ✓" if link.right else "") for link in row.by_fit[name])
            for name in shown
        )
        table.add_row(row.source.strip(), *cells)
    return table


@with_settings
def run(config: str | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Extract, fit, evaluate and report: do everything that is not yet done."""
    with job_with_workers(settings_of(config, overrides), as_json) as whole:
        results, page = whole.run()
    if as_json:
        print_json(to_document(results))
        return
    print_results(results)
    say(f"Report: {page}")


@with_settings
def extract(config: str | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Make and store the forward passes that the store is missing."""
    from pipeline.extract.asked import ASKED

    with job_with_workers(settings_of(config, overrides), as_json) as extraction:
        receipts = extraction.extract()
    asked = [r for r in receipts if r.key.startswith(ASKED)]
    shards = len(receipts) - len(asked)
    outright = sum(r.rows for r in asked)
    rows = sum(r.rows for r in receipts) - outright
    written = sum(r.bytes_written for r in receipts)
    if as_json:
        print_json({"shards": shards, "prompts": rows, "asked": outright, "bytes_written": written})
    else:
        say(
            f"{rows:,} prompts in {shards} shards, {outright:,} asked outright, "
            f"{written / 2**20:.1f} MiB written"
        )


@with_settings
def fit(config: str | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Fit the maps that the store is missing."""
    fitted = job(config, overrides, as_json).fit()
    if as_json:
        print_json({"fitted": fitted})
    else:
        say("\n".join(fitted) if fitted else "Nothing to fit: the store has every map")


@with_settings
def evaluate(config: str | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Score the maps on held-out subjects."""
    results = job(config, overrides, as_json).evaluate()
    if as_json:
        print_json(to_document(results))
    else:
        print_results(results)


@with_settings
def report(config: str | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Write the HTML page, plots and tables of what was evaluated."""
    page = job(config, overrides, as_json).report()
    if as_json:
        print_json({"report": str(page)})
    else:
        say(str(page))
