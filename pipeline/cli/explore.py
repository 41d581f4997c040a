"""`lincorr explore`: a local page that looks words up in maps."""

from typing import Annotated

import typer

from pipeline.cli.flags import with_settings
from pipeline.cli.output import say
from pipeline.cli.settings import settings_of


@with_settings
def explore(
    config: str | None,
    overrides: dict[str, str],
    *,
    other: Annotated[
        str | None, typer.Option("--other", help="A second store, to compare with: a folder or URL.")
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; beyond this machine the URL has a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on; 0 has a free one chosen.", min=0, max=65535)
    ] = 0,
) -> None:
    """Serve a page on which any token is looked up in any map; Ctrl-C ends it."""
    from pipeline.explore.opened import OpenedStore
    from pipeline.explore.server import ExploreServer

    stores = [OpenedStore(settings_of(config, overrides))]
    if other is not None:
        kept = {name: overrides[name] for name in ("catalogue", "relations") if name in overrides}
        stores.append(OpenedStore(settings_of(None, kept | {"store.path": other})))
    server = ExploreServer(stores, host, port)
    try:
        say(f"{server.url}  (Ctrl-C ends it)")
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
