"""Tables on the terminal: a plan, scores, strongest links."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.plan import Plan
from pipeline.prepare import Inputs


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values."""
    document = asdict(plan) | {
        "seconds": plan.seconds,
        "fit_seconds": plan.fit_seconds,
        "scratch_bytes": plan.scratch_bytes,
    }
    document["choices"] = {
        f"{relation}/{source}": asdict(choice) for (relation, source), choice in plan.choices.items()
    }
    return document


def print_plan(plan: Plan, inputs: Inputs) -> None:
    """Print what a run would do."""
    subjects = inputs.subjects
    table = Table(title="Plan", show_header=False)
    exists = "there already" if plan.exists else "new"
    rows = {
        "store": f"{plan.store} ({exists})",
        "subjects": f"{plan.n_subjects:,}: {plan.n_fit:,} to fit, {plan.n_test:,} to test",
        "classes": ", ".join(f"{n:,} {c}" for c, n in subjects.class_counts().items()),
        "left out": ", ".join(f"{n:,} {c}" for c, n in subjects.left_out.items()) or "none",
        "templates": "\n".join(f"{t.name}: {t.text!r}" for t in inputs.templates.values()),
        "columns": "\n".join(
            f"{r.name}: {len(r.source):,} of {len(r.source) + len(r.source.dropped):,} source answers, "
            f"{len(r.target):,} of {len(r.target) + len(r.target.dropped):,} target answers, "
            f"{len(r.truth):,} sources with a known target"
            for r in inputs.relations
        ),
        "shards": f"{plan.n_shards:,}",
        "prompts": f"{plan.prompts_needed:,} to run, {plan.prompts_kept:,} kept ({plan.tokens:,} tokens)",
        "to write": f"{plan.bytes_to_write / 2**20:,.1f} MiB, and {plan.scratch_bytes / 2**20:,.1f} MiB of "
        "scratch while fits run",
        "operations": f"{plan.flops:.3g} at {plan.flops_per_second / 1e9:,.0f} GFLOP/s",
        "estimated time": f"{plan.seconds:,.0f} s of extraction, {plan.fit_seconds:,.0f} s of fits",
        "solvers": "\n".join(
            f"{relation}/{source}: {choice.method} ({choice.reason})"
            for (relation, source), choice in plan.choices.items()
        ),
    }
    for note in inputs.notes:
        rows["note"] = note
    for key, value in rows.items():
        table.add_row(key, Text(value))
    Console().print(table)


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
            f"{_figure(fitted['r'])} ± {_figure(fitted['r_std'])}",
            _figure(fitted["r2"]),
            *(_figure(found.get(k), 2) for k in ("1", "3", "5")),
        )
    known = [f["hits"]["influenced target"] for f in relation["fits"] if f["hits"]]
    if known:
        chance = known[0]["chance"]
        table.add_row("by chance", *[""] * 4, *(_figure(chance[k], 2) for k in ("1", "3", "5")))
    notes = [
        f"hit@k: a right target is among the k strongest of a source's row of W, {known[0]['of']} sources"
        if known
        else "",
        "" if all(f["identified"] for f in relation["fits"]) else "(!) the rank is not clear: do not read W",
    ]
    table.caption = "\n".join(note for note in notes if note)
    return table


def _worth_table(relation: dict[str, Any]) -> Table:
    """The interval of r, and what r is without the relation (see `pipeline.controls`)."""
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
            f"{_figure(fitted['r_low'])}–{_figure(fitted['r_high'])}",
            _figure(fitted["spearman"]),
            f"{_figure(fitted['r_shuffled'], 2)} ± {_figure(fitted['r_shuffled_std'], 2)}",
            _figure(fitted["r_mean_logit"]),
            *([_figure(fitted["r_other_prompt"])] if other else []),
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
    return f" The same token's logit after the source's prompt, without any fit, gives {_figure(r)}."


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


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
