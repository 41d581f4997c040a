"""The figures that the paper reports, for comparison with a run's; the data are in ``shipped/paper.yaml``."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lincorr.strict import load_strict

FIGURES = Path(__file__).parent / "shipped" / "paper.yaml"
GRADIENT = "gradient"  # the measure of the gradient correlation


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One number of one table of arXiv 2502.04520.

    Attributes:
        relation: its name in this catalogue.
        measure: ``pearson``, ``gradient``, ``pearson after post-training``, ``influenced target@1`` (@3, @5),
            ``influencing source@1`` (@3, @5), ``generalisation``, ``random`` (the chance level printed
            beside it), and the three of the shallow network: ``shallow generalisation``, ``shallow
            generalisation when permuted``, ``shallow generalisation of letters``.
        value: correlations and rates are fractions, also where the paper prints percent.
        model: as the paper calls it, or as inferred, which `note` then says.
        table: where it is printed, such as "T4".
        note: what to know before comparing; a note on an apparent error of the paper begins with "slip".
    """

    relation: str
    measure: str
    value: float
    model: str
    table: str
    note: str = ""


def paper_figures(relation: str | None = None) -> tuple[PaperFigure, ...]:
    """Return the figures of one relation, or all (None); none for a relation that is not in the paper.

    A measure may occur several times, once for each model or table that reports it.
    """
    return tuple(figure for figure in _figures() if relation in (None, figure.relation))


@cache
def _figures() -> tuple[PaperFigure, ...]:
    return tuple(
        PaperFigure(
            relation=relation,
            measure=measure,
            value=float(value),
            model=table["model"],
            table=table["table"],
            note="; ".join(
                note for note in (table.get("notes", {}).get(relation), table.get("note")) if note
            ),
        )
        for table in load_strict(FIGURES.read_text("utf-8"))
        for relation, values in table["rows"].items()
        for measure, value in zip(table["measures"], values, strict=True)
    )


def reported(relation: str, measure: str) -> float | None:
    """Return the first figure that the paper reports of a relation by a measure; None where there is none."""
    return next((figure.value for figure in paper_figures(relation) if figure.measure == measure), None)
