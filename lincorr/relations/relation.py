"""Templates and relations: what is asked, and which answers go together."""

import re
import unicodedata
from dataclasses import dataclass

from lincorr.errors import BadInput
from lincorr.relations.messages import short

SLOT = "{}"

# What a run may write in place of a relation's name: "all", "family:NAME", "NAME.*", "NAME.*-*".
ALL = "all"
FAMILY = "family:"
EVERY_WORDING = ".*"
EVERY_MIXTURE = ".*-*"  # every wording of the source with every wording of the target

Names = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]

_WORDING = re.compile(r"\.\d+(-\d+)?$")


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with exactly one slot ``{}`` for the subject.

    Raises:
        BadInput: it has another number of slots, or a brace besides the slot.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        problem = slot_problem(self.text)
        if problem:
            raise BadInput(f"template {self.name!r}: {short(self.text)} {problem}")

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
        return first_wording(self.name)

    @property
    def gap(self) -> str:
        """What stands between the prompt and its answer: a space, or nothing.

        Nothing after a mathematical sign ("X+1="), a hyphen, an opening bracket or a blank, and in scripts
        without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
        """
        # where the prompt ends with the slot, the text before it shows the script
        last = self.before.rstrip()[-1:] if self.text.endswith(SLOT) else self.text[-1]
        return "" if last and not _takes_space(last) else " "


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt and the names that may answer it, most prominent first, each once."""

    template: Template
    answers: Names


@dataclass(frozen=True, slots=True)
class Relation:
    """Two sides and their ground truth: (source answer, target answer) pairs.

    A source answer may have several right targets. Pairs may have names that are not among the answers.
    `asked` are prompts with one slot for a source answer, which a target answers: what the model itself says.
    """

    name: str
    family: str
    source: Side
    target: Side
    truth: Pairs
    asked: Names = ()


_UNSPACED = ("THAI", "LAO", "KHMER", "MYANMAR")


def _takes_space(letter: str) -> bool:
    if letter.isspace() or unicodedata.category(letter) in ("Sm", "Pd", "Ps", "Pi"):
        return False
    script = unicodedata.name(letter, "").split(" ")[0]
    wide = unicodedata.east_asian_width(letter) in "WF" and script != "HANGUL"  # Korean sets spaces
    return not wide and script not in _UNSPACED


def first_wording(name: str) -> str:
    """The name of a template or relation in its first wording: "city" for "city.2", and for "city" itself.

    A relation of two numbers is a wording, too: "city-country" for "city-country.2-3".
    """
    return _WORDING.sub("", name)


def slot_problem(text: str) -> str | None:
    """What is wrong with the slots of a template's text, and what to do about it; None if nothing is."""
    named = re.search(r"\{[^{}]+\}", text)
    if named:
        return f"has the named slot {short(named[0])}: write {SLOT} in its place"
    slots = text.count(SLOT)
    if slots == 0:
        return f"has no slot: put {SLOT} where the subject goes"
    if slots > 1:
        return f"has {slots} slots: keep one {SLOT}"
    if "{" in text.replace(SLOT, "") or "}" in text.replace(SLOT, ""):
        return f"has a brace besides the slot {SLOT}: take it out"
    return None
