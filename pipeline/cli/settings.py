"""Settings from a file, flags and the store that has them; the run that they describe."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lincorr.errors import BadInput
from lincorr.paths import as_meant
from lincorr.store.locations import is_remote
from pipeline.runtime.warm import warm_workers

if TYPE_CHECKING:
    from pipeline.config import RunConfig
    from pipeline.run import Run


def job(config: Path | None, overrides: dict[str, str], quiet: bool) -> "Run":
    """Return the run that a file and flags describe; `quiet` suppresses its messages."""
    return _run_of(settings_of(config, overrides), quiet)


@contextmanager
def job_with_workers(config: Path | None, overrides: dict[str, str], quiet: bool) -> "Iterator[Run]":
    """Yield the run that a file and flags describe, which will start workers: they begin to be made ready.

    A store that is there already may need none.
    """
    settings = settings_of(config, overrides)
    url = settings.store_url()
    is_new = not is_remote(url) and not Path(url).exists()
    preload = "pipeline.extract.preloaded"
    with warm_workers(settings.cluster, settings.model_spec(), preload) if is_new else nullcontext():
        yield _run_of(settings, quiet)


def _run_of(settings: "RunConfig", quiet: bool) -> "Run":
    from pipeline.run import Run
    from pipeline.runtime.console import Narrator

    return Run(settings, Narrator(quiet=quiet))


def settings_of(config: Path | None, overrides: dict[str, str]) -> "RunConfig":
    """Return the settings of a file and flags."""
    from pipeline.config import load_config

    return load_config(config, overrides, _remembered(config, overrides))


def _remembered(config: Path | None, overrides: dict[str, str]) -> dict[str, Any]:
    """Return the settings that a store was made with, where only the store is named."""
    if config is not None or "model.source" in overrides or "store.path" not in overrides:
        return {}
    from lincorr.store.store import LogitStore

    url = as_meant(overrides["store.path"], "store.path")
    if not LogitStore.exists(url):
        raise BadInput(f"model: no model is given, and there is no store at {url!r} to take it from")
    return LogitStore.open(url).settings()
