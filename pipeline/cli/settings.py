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


def job(config: str | None, overrides: dict[str, str], quiet: bool) -> "Run":
    """Return the run that a file and flags describe; `quiet` suppresses its messages."""
    return _run_of(settings_of(config, overrides), quiet)


@contextmanager
def job_with_workers(settings: "RunConfig", quiet: bool) -> "Iterator[Run]":
    """Yield the run of some settings, which will start workers: they begin to be made ready.

    A store that is there already may need none.
    """
    url = settings.store_url()
    is_new = not is_remote(url) and not Path(url).exists()
    preload = "pipeline.extract.preloaded"
    with warm_workers(settings.cluster, settings.model_spec(), preload) if is_new else nullcontext():
        yield _run_of(settings, quiet)


def _run_of(settings: "RunConfig", quiet: bool) -> "Run":
    from pipeline.run import Run
    from pipeline.runtime.console import Narrator

    return Run(settings, Narrator(quiet=quiet))


def settings_of(config: str | None, overrides: dict[str, str]) -> "RunConfig":
    """Return the settings of a file or store, and of flags, which override it.

    Of a store that is named by its flag only, and without a model, they are those that it was made with, too.
    """
    from pipeline.config import load_config

    if config is not None and (is_remote(config) or Path(config).is_dir()):
        if "store.path" in overrides:
            raise BadInput(f"--store: {config!r} is a store, too; name one of them")
        overrides = overrides | {"store.path": config}
    elif config is not None:
        return load_config(Path(config), overrides)
    elif "model.source" in overrides or "store.path" not in overrides:
        return load_config(None, overrides)
    settings = load_config(None, overrides, _remembered(overrides["store.path"]))
    source = Path(settings.model.source)
    if "model.source" not in overrides and source.is_absolute() and not source.exists():
        raise BadInput(
            f"model: {str(source)!r}, of which the store is, is not there; say where it is by --model, after "
            "the store in the place of a file"
        )
    return settings


def _remembered(store: str) -> dict[str, Any]:
    """Return the settings that a store was made with."""
    from lincorr.store.store import LogitStore

    url = as_meant(store, "store.path")
    if not LogitStore.exists(url):
        raise BadInput(f"model: no model is given, and there is no store at {url!r} to take it from")
    return LogitStore.open(url).settings()
