"""Importing this imports what workers that run a model use; `pipeline.runtime.warm` says where."""

from contextlib import suppress

with suppress(Exception):  # whatever fails here fails again where it is needed, and is told there
    import pipeline.extract.asked
    import pipeline.runtime.dask_executor  # noqa: F401
    from lincorr.model.huggingface import import_for_models

    import_for_models()
