"""`lincorr hubs`: sources that dominate many targets."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, print_json
from pipeline.cli.settings import settings_of
from pipeline.cli.show import AllSources, MapName


@with_settings
def hubs(
    config: Path | None,
    overrides: dict[str, str],
    *,
    within: Annotated[
        int, typer.Option("--within", help="How many of a target's strongest sources count.", min=1)
    ] = 5,
    all_sources: AllSources = False,
    map_name: MapName = None,
    top: Annotated[int, typer.Option("--top", help="How many hubs to show.", min=1)] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Show the sources that are among the strongest of the most targets, beside what chance gives."""
    from pipeline.evaluate.hubs import show_hubs

    settings = settings_of(config, overrides)
    found = show_hubs(settings, map_name=map_name, count=top, top=within, all_sources=all_sources)
    if as_json:
        print_json(found)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for relation in found:
        print(
            f"{relation['relation']}, {relation['map']}; {relation['sources']:,} sources: {relation['among']}"
        )
        print(
            f"Targets among whose {relation['top']} strongest sources it is; by chance "
            f"{relation['expected']:.3g}, and hardly ever for any source more than {relation['bound']:,}"
        )
        table = Table(box=SIMPLE_HEAD)
        table.add_column("source")
        table.add_column(f"targets, of {relation['targets']:,}", justify="right")
        table.add_column("right of them", justify="right")
        for hub in relation["hubs"]:
            table.add_row(Text(repr(hub["token"])), f"{hub['targets']:,}", f"{hub['right']:,}")
        Console().print(table)
