"""What got slower: the tables that a benchmark prints, beside the same tables in benchmarks/README.md.

    python benchmarks/extraction.py | python benchmarks/check.py
    python -m benchmarks.solvers domain | python benchmarks/check.py

Rows are the same if their words and the name of the first column are; of several in the README the first
counts. Only ratios to a peer or to a peak of the same run are compared, of lincorr's own rows: seconds belong
to a machine. A ratio below four fifths of the README's counts as slower, since on a shared machine two runs
differ by a tenth or more. Exit code 1 if one is slower, 2 if there was nothing to compare.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).parent / "README.md"
RATIOS = ("times notebook", "times float32", "times per column", "of peak")
PEERS = ("notebook", "Hugging Face", "scikit-learn", "scipy", "numpy", "dask", "himalaya")
SLOWER = 0.8
NUMBER = re.compile(r"[\d.,]+(e[+-]?\d+)?%?")

Key = tuple[str, str, str]  # the first column's name, the row's words, the ratio's name


def main() -> None:
    lines = []
    for line in sys.stdin:  # a benchmark takes minutes: pass on what it says at once
        print(line, end="", flush=True)
        lines.append(line)
    published, found = ratios(README.read_text("utf-8")), ratios("".join(lines))
    both = [key for key in found if key in published]
    if not both:
        print("error: the input has no ratio of a table in benchmarks/README.md", file=sys.stderr)
        sys.exit(2)
    print("\n| row | ratio | README | now | of it | |\n| --- | --- | ---: | ---: | ---: | --- |")
    for key in both:
        share = found[key] / published[key]
        print(
            f"| {key[1]} | {key[2]} | {published[key]:g} | {found[key]:g} | {share:.2f} | {verdict(share)} |"
        )
    slower = [key for key in both if verdict(found[key] / published[key])]
    print(f"\n{len(slower)} of {len(both)} ratios are below {SLOWER:.0%} of the README's")
    sys.exit(1 if slower else 0)


def verdict(share: float) -> str:
    return "slower" if share < SLOWER else ""


def ratios(text: str) -> dict[Key, float]:
    """Read the ratios of lincorr's rows out of Markdown tables; of rows that are there twice, the first."""
    found: dict[Key, float] = {}
    for heading, cells in table_rows(text):
        words = ", ".join(c for i, c in enumerate(cells) if c and (i == 0 or not NUMBER.fullmatch(c)))
        if words.startswith(PEERS):
            continue
        for name, cell in zip(heading, cells, strict=False):
            if name in RATIOS and NUMBER.fullmatch(cell):
                found.setdefault((heading[0], words, name), number(cell))
    return found


def table_rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (heading, cells) of every row of every table."""
    heading: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            heading = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not heading:
            heading = cells
        elif not set(line) <= set("|-: "):
            yield heading, cells


def number(cell: str) -> float:
    """Read "1,024", ".96" or "71%"."""
    value = float(cell.replace(",", "").rstrip("%"))
    return value / 100 if cell.endswith("%") else value


if __name__ == "__main__":
    main()
