"""Importing this makes ready what workers that run a model share; `pipeline.runtime.warm` says where."""

import gc
import json
import os
import sys
from contextlib import suppress

from lincorr.uncollected import uncollected
from pipeline.runtime.warm import MODEL

_model = os.environ.pop(MODEL, None)
_may_be_forked = True
# whatever fails here fails again where it is needed, and is told there
with uncollected(), suppress(Exception):
    import pipeline.extract.asked
    import pipeline.runtime.dask_executor  # noqa: F401
    from lincorr.model.huggingface import import_for_models

    import_for_models()
    if _model is not None:
        from lincorr.model.files import ModelSpec
        from pipeline.extract.ahead import load_ahead

        _may_be_forked = False
        _may_be_forked = load_ahead(ModelSpec(**json.loads(_model)))
if not _may_be_forked:  # threads may be left that a fork would lack: begin again, without the model
    os.execv(sys.executable, sys.orig_argv)
gc.freeze()  # so that a worker that looks for garbage copies none of the memory that it shares
