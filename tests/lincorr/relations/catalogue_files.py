"""A catalogue file of one's own, and the line with which a file is refused."""

from pathlib import Path

import pytest

from lincorr.errors import BadInput
from lincorr.relations.catalogue import load_catalogue

OWN = """\
templates:
  beast: "{}'s pet is a"
  sound: "{}'s pet says"
relations:
  pet-sound:
    family: animals
    source: {template: beast, answers: [dog, cat, cow]}
    target: {template: sound, answers: [woof, meow, moo]}
    truth: [[dog, woof], [cat, meow], [cow, moo]]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *words: str) -> str:
    """The one line with which the catalogue file is refused, which must hold the words."""
    with pytest.raises(BadInput) as caught:
        load_catalogue([path])
    return one_line(caught.value, path.name, *words)


def one_line(error: BadInput, *words: str) -> str:
    message = str(error)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message
