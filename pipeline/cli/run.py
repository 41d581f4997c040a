"""`lincorr run` and its five verbs, and the table of scores."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, print_json
from pipeline.cli.settings import job


def print_results(document: dict[str, Any]) -> None:
    """Print the scores and the strongest targets of every relation."""
    console = Console()
    for relation in document["relations"]:
        console.print(_scores_table(relation))
        console.print(_worth_table(relation))
        for words in (_worth_notes(relation), *(f"Warning: {text}" for text in relation["warnings"])):
            console.print(words, markup=False, highlight=False)
        console.print()
        console.print(_links_table(relation))


def _scores_table(relation: dict[str, Any]) -> Table:
    table = Table(
        title=f"{relation['name']}: held-out score of each fit",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("fit", no_wrap=True)
    for heading in ("columns", "√λ/σ₁", "Pearson r", "R²", "hit@1", "@3", "@5"):
        table.add_column(heading, justify="right", no_wrap=True)
    for fitted in relation["fits"]:
        found = (fitted["hits"] or {}).get("influenced target", {})
        table.add_row(
            fitted["name"] + ("" if fitted["identified"] else " (!)"),
            f"{fitted['source_columns']:,}",
            f"{fitted['root_penalty']:.3g}",
            f"{figure(fitted['r'])} ± {figure(fitted['r_std'])}",
            figure(fitted["r2"]),
            *(figure(found.get(k), 2) for k in ("1", "3", "5")),
        )
    known = [f["hits"]["influenced target"] for f in relation["fits"] if f["hits"]]
    if known:
        chance = known[0]["chance"]
        table.add_row("by chance", *[""] * 4, *(figure(chance[k], 2) for k in ("1", "3", "5")))
    notes = [
        f"hit@k: a right target is among the k strongest of a source's row of W, {known[0]['of']} sources"
        if known
        else "",
        "" if all(f["identified"] for f in relation["fits"]) else "(!) the rank is not clear: do not read W",
    ]
    table.caption = "\n".join(note for note in notes if note)
    return table


def _worth_table(relation: dict[str, Any]) -> Table:
    """The interval of r, and what r is without the relation (see `pipeline.evaluate.controls`)."""
    table = Table(
        title=f"{relation['name']}: what r is worth",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    other = relation["other_prompt"]
    table.add_column("fit", no_wrap=True)
    headings = ["95 % of r", "Spearman", "shuffled", "mean logit", *(["other prompt"] if other else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for fitted in relation["fits"]:
        cells = [
            f"{figure(fitted['r_low'])}–{figure(fitted['r_high'])}",
            figure(fitted["spearman"]),
            f"{figure(fitted['r_shuffled'], 2)} ± {figure(fitted['r_shuffled_std'], 2)}",
            figure(fitted["r_mean_logit"]),
            *([figure(fitted["r_other_prompt"])] if other else []),
        ]
        table.add_row(fitted["name"], *cells)
    return table


def _worth_notes(relation: dict[str, Any]) -> str:
    controls = ["with shuffled targets", "from nothing but a subject's mean logit"]
    if relation["other_prompt"]:
        controls.append(f"for the same tokens after another prompt, {relation['other_prompt']['text']!r}")
    return (
        "95 % of r: interval of the mean r over subjects (± above is over columns). The columns right of "
        f"Spearman are r where the relation cannot help: {', '.join(controls[:-1])}, or {controls[-1]}."
        f"{_identity_note(relation)}"
    )


def _identity_note(relation: dict[str, Any]) -> str:
    r = relation["identity"]["r"]
    if r is None:
        return ""
    return f" The same token's logit after the source's prompt, without any fit, gives {figure(r)}."


def _links_table(relation: dict[str, Any]) -> Table:
    names = [fitted["name"] for fitted in relation["fits"]]
    shown = [name for name in ("domain", "vocabulary-ridge", "domain-ridge") if name in names][:2]
    table = Table("source", *shown, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title = f"{relation['name']}: strongest targets of each fit (✓ right)"
    for row in relation["strongest"][:12]:
        cells = [
            Text(
                ", ".join(
                    link["token"].strip() + (" ✓" if link["right"] else "") for link in row["by_fit"][name]
                )
            )
            for name in shown
        ]
        table.add_row(Text(row["source"].strip()), *cells)
    return table


@with_settings
def run(config: Path | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Extract, fit, evaluate and report: do everything that is not yet done."""
    document, page = job(config, overrides, as_json).run()
    if as_json:
        print_json(document)
        return
    print_results(document)
    Console().print(f"Report: {page}", soft_wrap=True, markup=False, highlight=False)


@with_settings
def extract(config: Path | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Make the forward passes that the store lacks, and keep them."""
    receipts = job(config, overrides, as_json).extract()
    rows = sum(r.rows for r in receipts)
    written = sum(r.bytes_written for r in receipts)
    if as_json:
        print_json({"shards": len(receipts), "prompts": rows, "bytes_written": written})
    else:
        print(f"{rows:,} prompts in {len(receipts)} shards, {written / 2**20:.1f} MiB written")


@with_settings
def fit(config: Path | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Fit the maps that the store lacks."""
    fitted = job(config, overrides, as_json).fit()
    if as_json:
        print_json({"fitted": fitted})
    else:
        print("\n".join(fitted) if fitted else "Nothing to fit: the store has every map")


@with_settings
def evaluate(config: Path | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Score the maps on held-out subjects."""
    document = job(config, overrides, as_json).evaluate()
    if as_json:
        print_json(document)
    else:
        print_results(document)


@with_settings
def report(config: Path | None, overrides: dict[str, str], *, as_json: JsonFlag = False) -> None:
    """Write the HTML page, plots and tables of what was evaluated."""
    page = job(config, overrides, as_json).report()
    if as_json:
        print_json({"report": str(page)})
    else:
        print(page)
