"""`lincorr hubs`: sources that dominate many targets."""

from typing import Annotated

import typer

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, plain_table, print_json, say, show_table
from pipeline.cli.settings import settings_of
from pipeline.cli.show import AllSources, MapName


@with_settings
def hubs(
    config: str | None,
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
    """Show the sources that are among the strongest of the most targets, compared with chance."""
    from pipeline.evaluate.hubs import show_hubs

    settings = settings_of(config, overrides)
    found = show_hubs(settings, map_name=map_name, count=top, top=within, all_sources=all_sources)
    if as_json:
        print_json(found)
        return
    for one in found:
        say(f"{one.relation}, {one.map}; {one.sources:,} sources: {one.among}")
        say(
            f"Targets among whose {one.top} strongest sources it is; by chance {one.expected:.3g}, and "
            f"hardly ever for any source more than {one.bound:,}"
        )
        table = plain_table(None, ["source"], [f"targets, of {one.targets:,}", "right of them"])
        for hub in one.hubs:
            table.add_row(repr(hub.token), f"{hub.targets:,}", f"{hub.right:,}")
        show_table(table)
