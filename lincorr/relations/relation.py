"""Templates and relations: what is asked, and which answers go together."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lincorr.errors import BadInput

SLOT = "{}"


# The end of "city.2", the second wording of "city".
_WORDING = re.compile(r"\.\d+$")


Names = tuple[str, ...]


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with exactly one slot ``{}`` for the subject; raises BadInput for any other."""

    name: str
    text: str

    def __post_init__(self) -> None:
        problem = _slot_problem(self.text)
        if problem:
            raise BadInput(f"template {self.name!r}: {shown(self.text)} {problem}")

    @property
    def before(self) -> str:
        """The text before the slot, often empty."""
        return self.text.partition(SLOT)[0]

    @property
    def after(self) -> str:
        """The text after the slot."""
        return self.text.partition(SLOT)[2]

    @property
    def attribute(self) -> str:
        """The name of its first wording: "city" of "city.2", and of "city" itself."""
        return _WORDING.sub("", self.name)

    @property
    def gap(self) -> str:
        """What stands between the prompt and its answer: a space, or nothing.

        Nothing behind a mathematical sign ("X+1="), a hyphen, an opening bracket or blank, and in scripts
        that set no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
        """
        # behind the slot itself, the text before it tells the script
        last = self.before.rstrip()[-1:] if self.text.endswith(SLOT) else self.text[-1]
        return "" if last and not _takes_space(last) else " "


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt and the names that may answer it, most prominent first, none twice."""

    template: Template
    answers: Names


@dataclass(frozen=True, slots=True)
class Relation:
    """Two sides and the (source answer, target answer) pairs known to be right.

    A source answer may have several right targets. Pairs may reach beyond the answers.
    """

    name: str
    family: str
    source: Side
    target: Side
    truth: Pairs


_UNSPACED = ("THAI", "LAO", "KHMER", "MYANMAR")


def _takes_space(letter: str) -> bool:
    if letter.isspace() or unicodedata.category(letter) in ("Sm", "Pd", "Ps", "Pi"):
        return False
    script = unicodedata.name(letter, "").split(" ")[0]
    wide = unicodedata.east_asian_width(letter) in "WF" and script != "HANGUL"  # Korean sets spaces
    return not wide and script not in _UNSPACED


# Words for refusals


def _slot_problem(text: str) -> str | None:
    """What is wrong with a template's slots, and the mend; None if nothing is."""
    named = re.search(r"\{[^{}]+\}", text)
    if named:
        return f"has the named slot {shown(named[0])}: write {SLOT} in its place"
    slots = text.count(SLOT)
    if slots == 0:
        return f"has no slot: put {SLOT} where the subject goes"
    if slots > 1:
        return f"has {slots} slots: keep one {SLOT}"
    if "{" in text.replace(SLOT, "") or "}" in text.replace(SLOT, ""):
        return f"has a brace besides the slot {SLOT}: take it out"
    return None


_MOST_LISTED = 12  # a refusal is one line


def suggest(value: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(value, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {listed(near, 'or')}?"
    if len(names) > _MOST_LISTED:
        return f"give one of {listed(names[:_MOST_LISTED], 'or')}, or of {len(names) - _MOST_LISTED} more"
    return f"give one of {listed(names, 'or')}"


def listed(names: Sequence[str], last: str = "and") -> str:
    quoted = [repr(name) for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def shown(value: object) -> str:
    """The value as one short line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_line(message: object) -> str:
    return " ".join(str(message).split())
