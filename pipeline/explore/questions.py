"""What the page asks and what it is answered, as types; `lincorr.scores.documents` makes JSON of them."""

from dataclasses import dataclass

MOST_LINKS = 200


@dataclass(frozen=True, slots=True)
class Question:
    """One word in one map.

    Attributes:
        word: as it was typed; found as `lincorr show` finds it.
        token: a token id, where it was chosen and not typed: it counts instead of the word.
        store: 0 for the first store, 1 for the other one.
        target: the word is a target; its strongest sources are asked for.
        every: among every token, not only the answers.
        centred: rows are centred over the relation's targets (`lincorr.solvers.centred`).
        root_penalty: √λ/σ₁; None for the map as it is stored.
        top: how many links, `MOST_LINKS` at most.
    """

    word: str
    relation: str
    fit: str
    token: int | None = None
    store: int = 0
    target: bool = False
    every: bool = False
    centred: bool = True
    root_penalty: float | None = None
    top: int = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A token with a weight.

    Attributes:
        rank: 1 for the strongest.
        right: whether the ground truth has it.
    """

    token: int
    text: str
    rank: int
    weight: float
    right: bool


@dataclass(frozen=True, slots=True)
class Path:
    """The penalties at which a map can be read.

    Attributes:
        roots: √λ/σ₁, ascending.
        scores: mean leave-one-out r at each; None where a row fits itself.
        reading, best: the two that leave-one-out chooses.
        stored: that of the stored map.
    """

    roots: tuple[float, ...]
    scores: tuple[float | None, ...]
    reading: float
    best: float
    stored: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The strongest links of a word in one map.

    Attributes:
        token, text: what was found for the word; note: what to know where that is another word.
        of: how many tokens the links were chosen from.
        links: strongest first.
        right: the right answers among those, wherever they rank.
        root_penalty: of the map that was read.
        warning: why its weights should not be read, if that is so.
        path: its penalties; None where it has one only, and `no_path` says why.
        seconds: it took to find.
    """

    question: Question
    token: int
    text: str
    note: str | None
    of: int
    links: tuple[Found, ...]
    right: tuple[Found, ...]
    root_penalty: float
    warning: str | None
    path: Path | None
    no_path: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question has no answer, and words near the one that was typed."""

    question: Question
    refusal: str
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MapName:
    """A relation, and the fits of which its maps are stored, the best-reading one last.

    Attributes:
        chosen: it is asked in several wordings, and leave-one-out chooses this one.
    """

    relation: str
    source_prompt: str
    target_prompt: str
    fits: tuple[str, ...]
    chosen: bool


@dataclass(frozen=True, slots=True)
class StoreName:
    """One of the stores that are open, with its maps and a word to begin with."""

    name: str
    model: str
    maps: tuple[MapName, ...]
    example: str
