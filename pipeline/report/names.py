"""Which files a report has, told before there is one."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.report.folder import INDEX, require_free

STUDY_TABLES = (
    "families",
    "matrix",
    "growth",
    "paper",
    "paraphrases",
    "generalisation",
    "operators",
    "ranks",
    "spectrum",
)


def require_report_folder(folder: Path, relations: Sequence[str], *, study: bool = False) -> None:
    """Refuse, before anything is computed, a folder that `write_results` will refuse.

    Args:
        relations: names of those that the report will have.

    Raises:
        BadInput: it cannot be written, or has a file of the user's under the name of one of the report's.
    """
    tables = [f"{name}{suffix}" for name in STUDY_TABLES for suffix in (".csv", ".parquet")]
    names = names_of_files(relations, study=study)
    require_free(folder, [*names, "scores.parquet", "links.parquet", *(tables if study else ())])


def names_of_files(relations: Sequence[str], *, study: bool) -> list[str]:
    """Return patterns of the names of all files that `write_report` may write for these relations."""
    keys, alone = keys_of(relations), len(relations) == 1 and not study
    pages = [] if alone else [f"{key}.html" for key in keys]
    plots = [f"{key}-*.png" for key in (*keys, INDEX.removesuffix(".html"))]
    return [INDEX, "report.json", "scores.csv", "links.csv", *pages, *plots]


def keys_of(names: Sequence[str]) -> list[str]:
    """Return a unique key for each relation: its name without characters that are special in paths."""
    keys, taken = [], {INDEX.removesuffix(".html")}
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "relation"
        key, number = stem, 1
        while key.lower() in taken:  # some file systems ignore case
            number += 1
            key = f"{stem}-{number}"
        taken.add(key.lower())
        keys.append(key)
    return keys
