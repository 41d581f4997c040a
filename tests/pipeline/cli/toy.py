"""A catalogue of the toy model's own words, and what a folder holds."""

from pathlib import Path

import yaml

from lincorr.testing import CITIES, COUNTRIES

TEXTS = {"city": "{} lives in the city of", "country": "{} lives in the country of"}


def write_catalogue(path: Path, templates: dict[str, str] = TEXTS, cities: tuple[str, ...] = CITIES) -> Path:
    """Write one relation `toy` of the toy model's own words."""
    source, target = list(templates)
    relation = {
        "source": {"template": source, "answers": list(cities)},
        "target": {"template": target, "answers": list(COUNTRIES)},
        "truth": [list(pair) for pair in zip(CITIES, COUNTRIES, strict=True)],
    }
    path.write_text(yaml.safe_dump({"templates": templates, "relations": {"toy": relation}}))
    return path


def files_of(*folders: Path) -> dict[Path, bytes | None]:
    """Every file and folder, with the bytes of files."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}
