"""Answer lists and common knowledge that no package provides: jobs, tastes of foods, heads of companies.

``shipped/answers`` has a file for each list, most prominent first: YAML if it is words only, CSV if other
columns hold facts about each word. A cell may hold several right words, a|b, or none.

Importing this module only lists the files. Each is read when it is first asked for, then cached.
"""

import csv
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from lincorr.strict import load_strict

FOLDER = Path(__file__).parent / "shipped" / "answers"
FOREIGN = ("es", "fr", "de", "zh", "ja")

Words = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]


@cache
def words(name: str) -> Words:
    """The words of a YAML file."""
    return tuple(load_strict((FOLDER / f"{name}.yaml").read_text("utf-8")))


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(line for line in lines if not line.startswith("#")))


@cache
def names(table: str) -> Words:
    """The words in the first column of a CSV file, which its facts are about."""
    return tuple(row["name"] for row in _rows(table))


@cache
def known(table: str, column: str) -> Pairs:
    """Each word of a CSV file, paired with each right word in another column."""
    return tuple((row["name"], word) for row in _rows(table) for word in row[column].split("|") if word)


@cache
def foreign_names(table: str, language: str) -> Words:
    """The words of a CSV file in another language (one of FOREIGN)."""
    return tuple(dict.fromkeys(word for _, word in known(table, language)))


@cache
def ceo_company() -> Pairs:
    """What people call the head of a company, by first or by last name, and the company."""
    return tuple(dict.fromkeys((word, company) for company, word in _ceo_words()))


@cache
def ceo_names() -> Words:
    """Last and first names of heads of companies."""
    return tuple(dict.fromkeys(word for _, word in _ceo_words()))


def _ceo_words() -> Iterator[tuple[str, str]]:
    for company, ceo in known("companies", "ceo"):
        yield company, ceo.split()[-1]
        yield company, ceo.split()[0]


@cache
def same(table: str) -> Pairs:
    """Each word of a CSV file, paired with itself."""
    return tuple((name, name) for name in names(table))


# Lists of answers, most prominent first, each name once.
ANSWERS: dict[str, Callable[[], Words]] = {
    **{path.stem: partial(words, path.stem) for path in sorted(FOLDER.glob("*.yaml"))},
    **{path.stem: partial(names, path.stem) for path in sorted(FOLDER.glob("*.csv"))},
    "ceos": ceo_names,
    **{f"jobs-{language}": partial(foreign_names, "jobs", language) for language in FOREIGN},
}

# (source, target) pairs; a source may have several right targets.
TRUTH: dict[str, Callable[[], Pairs]] = {
    "ceo-company": ceo_company,
    "company-company": partial(same, "companies"),
    "fruit-color": partial(known, "fruits", "color"),
    "food-taste": partial(known, "foods", "taste"),
    "food-drink": partial(known, "foods", "drink"),
    "flower-color": partial(known, "flowers", "color"),
    "sport-hobby": partial(known, "sports", "hobby"),
    "job-vehicle": partial(known, "jobs", "vehicle"),
    "gem-color": partial(known, "gems", "color"),
    "animal-size": partial(known, "animals", "size"),
    **{
        f"object-{what}": partial(known, "objects", what)
        for what in ("color", "heat", "price", "genre", "size")
    },
    **{f"job-job-{language}": partial(known, "jobs", language) for language in FOREIGN},
}
