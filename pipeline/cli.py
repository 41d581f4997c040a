"""The command line: verbs, flags and tables. Heavy imports happen in the verb that needs them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lincorr.errors import LincorrError
from pipeline.commands.edit import edit
from pipeline.commands.gradients import gradients
from pipeline.commands.hubs import hubs
from pipeline.commands.job import job, settings_of
from pipeline.commands.relations_check import relations_check
from pipeline.commands.resilience import resilience
from pipeline.commands.shallow import shallow
from pipeline.commands.show import show
from pipeline.commands.study import study
from pipeline.device import no_memory
from pipeline.flags import with_settings

if TYPE_CHECKING:
    from pipeline.config import RunConfig

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Map the linear relations between a language model's answers to related prompts.",
)
store_app = typer.Typer(no_args_is_help=True, help="Look at a logit store.")
relations_app = typer.Typer(no_args_is_help=True, help="Look at the catalogue of relations.")
app.add_typer(store_app, name="store")
app.add_typer(relations_app, name="relations")

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 for bad input, 1 for a failed run.

    An error is one line on standard error; ``--debug`` shows where it came from.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = app([a for a in arguments if a != "--debug"], standalone_mode=False) or 0
    except LincorrError as problem:
        if debug:
            raise
        return _fail(str(problem), problem.exit_code)
    except MemoryError as problem:
        if debug:
            raise
        return _fail(str(no_memory(problem)), 1)
    except Exception as problem:
        if hasattr(problem, "format_message"):  # typer refuses a flag or an argument
            return _refuse_usage(problem)
        if debug:
            raise
        return _fail(f"{type(problem).__name__}: {problem} (--debug shows where)", 1)
    if code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        return _fail("interrupted; what was done is kept, the same command goes on from there", code)
    return int(code)


def _refuse_usage(problem: Any) -> int:
    if type(problem).__name__ == "NoArgsIsHelpError":  # a bare `lincorr store`: show its help
        problem.show()
        return 2
    return _fail(f"{problem.format_message()} (--help lists commands and flags)", 2)


def _fail(line: str, code: int) -> int:
    print("error: " + " ".join(line.split()), file=sys.stderr)
    return code


Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]


@app.command()
@with_settings
def run(config: Path | None, overrides: dict[str, str], *, as_json: Json = False) -> None:
    """Extract, fit, evaluate and report: do everything that is not yet done."""
    from pipeline.tables import print_results

    document, page = job(config, overrides, as_json).run()
    if as_json:
        _print_json(document)
        return
    print_results(document)
    Console().print(f"Report: {page}", soft_wrap=True, markup=False, highlight=False)


@app.command()
@with_settings
def plan(
    config: Path | None,
    overrides: dict[str, str],
    *,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", help="Estimate a run on so many GPUs, as 8 or 8,64, from config.json alone."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Which GPU: a100, h100 or h200. Default: h100.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would do: shards, bytes, operations, solvers and time. Writes nothing."""
    from pipeline.tables import plan_document, print_plan

    if gpus is not None or gpu is not None:
        _estimate(settings_of(config, overrides), gpus or "1", gpu or "h100", as_json)
        return
    planner = job(config, overrides, as_json)
    planned = planner.plan()
    if as_json:
        _print_json(plan_document(planned))
    else:
        print_plan(planned, planner.inputs)


@app.command()
@with_settings
def extract(config: Path | None, overrides: dict[str, str], *, as_json: Json = False) -> None:
    """Make the forward passes that the store lacks, and keep them."""
    receipts = job(config, overrides, as_json).extract()
    rows = sum(r.rows for r in receipts)
    written = sum(r.bytes_written for r in receipts)
    if as_json:
        _print_json({"shards": len(receipts), "prompts": rows, "bytes_written": written})
    else:
        print(f"{rows:,} prompts in {len(receipts)} shards, {written / 2**20:.1f} MiB written")


@app.command()
@with_settings
def fit(config: Path | None, overrides: dict[str, str], *, as_json: Json = False) -> None:
    """Fit the maps that the store lacks."""
    fitted = job(config, overrides, as_json).fit()
    if as_json:
        _print_json({"fitted": fitted})
    else:
        print("\n".join(fitted) if fitted else "Nothing to fit: the store has every map")


@app.command()
@with_settings
def evaluate(config: Path | None, overrides: dict[str, str], *, as_json: Json = False) -> None:
    """Score the maps on held-out subjects."""
    from pipeline.tables import print_results

    document = job(config, overrides, as_json).evaluate()
    if as_json:
        _print_json(document)
    else:
        print_results(document)


@app.command()
@with_settings
def report(config: Path | None, overrides: dict[str, str], *, as_json: Json = False) -> None:
    """Write the HTML page, plots and tables of what was evaluated."""
    page = job(config, overrides, as_json).report()
    if as_json:
        _print_json({"report": str(page)})
    else:
        print(page)


app.command()(show)
app.command()(hubs)
app.command()(study)
app.command()(resilience)
app.command()(gradients)
app.command()(edit)
app.command()(shallow)


@store_app.command("info")
def store_info(path: str, as_json: Json = False) -> None:
    """Show what a store holds."""
    from dataclasses import asdict

    from lincorr.store import LogitStore

    store = LogitStore.open(path)
    templates = {
        t.name: {
            "text": t.text,
            "columns": len(store.column_ids(t.name)),
            "rows": sum(store.whole_rows(t.name, shard) for shard in range(store.n_shards)),
        }
        for t in store.templates()
    }
    facts = asdict(store.identity) | {"subjects": store.n_subjects, "shards": store.n_shards}
    facts |= {"templates": templates, "relations": store.maps.relations()}
    if as_json:
        _print_json(facts)
        return
    table = Table(title=path, show_header=False)
    for key, value in facts.items():
        if key == "templates":
            for name, t in templates.items():
                text = f"{t['text']!r}: {t['columns']:,} columns, {t['rows']:,} rows"
                table.add_row(f"template {name}", Text(text))
        else:
            table.add_row(key, Text(f"{value:,}" if type(value) is int else str(value)))
    Console().print(table)


@store_app.command("verify")
def store_verify(path: str, as_json: Json = False) -> None:
    """Check every shard's completeness and checksum; exit 1 if one is not whole and right."""
    from lincorr.store import LogitStore

    faults = LogitStore.open(path).verify()
    if as_json:
        _print_json({"faults": faults})
    elif faults:
        print("\n".join(faults))
        print(f"faults: {len(faults)}; `lincorr extract` repairs shards")
    else:
        print("every shard is whole and right")
    if faults:
        raise typer.Exit(1)


@relations_app.command("list")
def relations_list(
    catalogue: Annotated[list[Path] | None, typer.Option(help="YAML file of your own.")] = None,
    as_json: Json = False,
) -> None:
    """List the relations that can be fitted."""
    from lincorr.relations import load_catalogue

    known = load_catalogue(catalogue or [])
    rows = [known.describe(name) for name in known.names()]
    if as_json:
        _print_json(
            [
                {
                    "name": r.name,
                    "family": r.family,
                    "source": r.source.template.text,
                    "target": r.target.template.text,
                    "wordings": known.n_wordings(r.name),
                }
                for r in rows
            ]
        )
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("relation", no_wrap=True)
    table.add_column("wordings", justify="right")
    for heading in ("source template", "target template"):
        table.add_column(heading)
    for family in known.families():
        table.add_row(Text(family, style="bold"))
        for r in rows:
            if r.family == family:
                cells = (
                    r.name,
                    f"{known.n_wordings(r.name)}",
                    r.source.template.text,
                    r.target.template.text,
                )
                table.add_row(*(Text(cell) for cell in cells))
        table.add_section()
    Console().print(table)


relations_app.command("check")(relations_check)


def _estimate(config: "RunConfig", gpus: str, gpu: str, as_json: bool) -> None:
    from pipeline.estimate_table import estimate_document, estimates, print_estimates

    found = estimates(config, gpus, gpu)
    if as_json:
        _print_json([estimate_document(one) for one in found])
    else:
        print_estimates(found)


def _print_json(value: Any) -> None:
    from lincorr.strict_json import finite

    print(json.dumps(finite(value), indent=2, ensure_ascii=False))
