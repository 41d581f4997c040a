"""Importing this imports what workers that run a model use; `pipeline.runtime.warm` says where."""

import gc
from contextlib import suppress

gc.disable()  # what is imported is no garbage
with suppress(Exception):  # whatever fails here fails again where it is needed, and is told there
    import pipeline.extract.asked
    import pipeline.runtime.dask_executor  # noqa: F401
    from lincorr.model.huggingface import import_for_models

    import_for_models()
gc.enable()
gc.freeze()  # so that a worker that looks for garbage copies none of the memory that it shares
