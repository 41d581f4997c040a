"""Every setting as a flag: ``subjects.count`` is ``--subjects-count``."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipeline.config import forms, settings

# Short flags for what is set most; every other setting is --section-name.
_SHORT = {"model.source": "--model", "store.path": "--store"}

LARGEST_SEED = 2**63 - 1
"""Of an option `--seed`, as of `subjects.seed`."""


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the argument CONFIG, a file or a store, and a flag for every setting.

    The verb is called with that argument (see `settings_of`), the flags that were given as dotted setting ->
    text, and its own parameters: its arguments come before CONFIG, and in its help its options before the
    settings.
    """
    config = inspect.Parameter(
        "config",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        # no Path: that would make file:///a.zarr and s3://bucket file:/a.zarr and s3:/bucket
        annotation=Annotated[str | None, typer.Argument(help="YAML file with settings, or a store.")],
    )
    flags = {setting.replace(".", "_"): setting for setting in settings()}
    own = list(inspect.signature(function).parameters.values())[2:]
    arguments = [p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
    options = [p for p in own if p.kind is p.KEYWORD_ONLY]
    settings_flags = (_flag(name, setting) for name, setting in flags.items())
    parameters = [*arguments, config, *options, *settings_flags]

    def command(config: str | None, **given: Any) -> None:
        overrides = {setting: given[name] for name, setting in flags.items() if given[name] is not None}
        function(config, overrides, **{p.name: given[p.name] for p in own})

    # typer reads a command's flags from its signature
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    return command


def _flag(name: str, setting: str) -> inspect.Parameter:
    description, default = settings()[setting]
    shown = "" if default is None or default == () else f" Default: {_plain(default)}."
    option = typer.Option(
        _SHORT.get(setting, "--" + name.replace("_", "-")),
        help=description + shown,
        metavar=forms()[setting],
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _plain(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
