"""The command line: verbs, exit codes and one-line errors; each verb imports heavy libraries itself."""

import io
import sys
import traceback
from importlib.metadata import version
from types import TracebackType
from typing import Annotated, Any

import typer

from lincorr.errors import LincorrError
from lincorr.redact import redacted
from lincorr.visible import visible
from pipeline.cli.edit import edit
from pipeline.cli.explore import explore
from pipeline.cli.flips import flips
from pipeline.cli.gradients import gradients
from pipeline.cli.hubs import hubs
from pipeline.cli.plan import plan
from pipeline.cli.relations import relations_check, relations_list
from pipeline.cli.resilience import resilience
from pipeline.cli.run import evaluate, extract, fit, report, run
from pipeline.cli.shallow import shallow
from pipeline.cli.show import show
from pipeline.cli.store import store_compact, store_copy, store_info, store_merge, store_verify
from pipeline.cli.study import study
from pipeline.runtime.device import no_memory
from pipeline.runtime.signals import stopped, was_stopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Map the linear relations between a language model's answers to related prompts.",
)
for verb in (
    run,
    plan,
    extract,
    fit,
    evaluate,
    report,
    show,
    explore,
    hubs,
    study,
    resilience,
    gradients,
    flips,
    edit,
    shallow,
):
    app.command()(verb)

store_app = typer.Typer(
    no_args_is_help=True, help="Look at a logit store, join two, copy one, make one smaller."
)
store_app.command("info")(store_info)
store_app.command("verify")(store_verify)
store_app.command("merge")(store_merge)
store_app.command("copy")(store_copy)
store_app.command("compact")(store_compact)
app.add_typer(store_app, name="store")

relations_app = typer.Typer(no_args_is_help=True, help="Look at the catalogue of relations.")
relations_app.command("list")(relations_list)
relations_app.command("check")(relations_check)
app.add_typer(relations_app, name="relations")

_INTERRUPTED = 130


def _print_version(asked: bool) -> None:
    if asked:
        print(f"lincorr {version('lincorr')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Read the flags before a verb."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 2 for bad input, 1 for a failed run.

    An error is one line on standard error; ``--debug`` shows where it came from.
    """
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a terminal or pipe of another encoding loses letters, not results
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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
        if was_stopped():
            return stopped()
        if hasattr(problem, "format_message"):  # typer refuses a flag or an argument
            return _refuse_usage(problem)
        if debug:
            raise
        return _fail(f"{type(problem).__name__}: {problem} (--debug shows where)", 1)
    finally:
        if debug:
            sys.excepthook = _show_origin  # only now: typer sets one of its own
    if code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        return stopped()
    return int(code)


def _refuse_usage(problem: Any) -> int:
    if type(problem).__name__ == "NoArgsIsHelpError":  # a bare `lincorr store`: show its help
        problem.show()
        return 2
    return _fail(f"{problem.format_message()} (--help lists commands and flags)", 2)


def _show_origin(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback without credentials."""
    lines = "".join(traceback.format_exception(kind, problem, trace))
    print(redacted(lines), file=sys.stderr, end="")


def _fail(line: str, code: int) -> int:
    print("error: " + visible(redacted(" ".join(line.split()))), file=sys.stderr)
    return code
