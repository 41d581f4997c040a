"""The configuration of a run, from one YAML file and flags of the same names."""

from pipeline.config.flags import forms, settings
from pipeline.config.load import load_config
from pipeline.config.sections import (
    ClusterSettings,
    FitSettings,
    ModelSettings,
    ReportSettings,
    RunConfig,
    Section,
    StoreSettings,
    SubjectSettings,
)

__all__ = [
    "ClusterSettings",
    "FitSettings",
    "ModelSettings",
    "ReportSettings",
    "RunConfig",
    "Section",
    "StoreSettings",
    "SubjectSettings",
    "forms",
    "load_config",
    "settings",
]
