"""Map the linear relations between a language model's answers to related prompts."""

from lincorr import cupy_cache as _cupy_cache  # noqa: F401 -- first, before Zarr imports CuPy
from lincorr.errors import BadInput, LincorrError, StoreDamaged
from lincorr.relations.catalogue import load_catalogue
from lincorr.relations.relation import Relation, Template
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore

__all__ = [
    "BadInput",
    "LincorrError",
    "LinearMap",
    "LogitStore",
    "Relation",
    "StoreDamaged",
    "Template",
    "load_catalogue",
]
