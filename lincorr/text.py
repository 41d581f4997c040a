"""Text that users give: how files of it are read, when two texts are the same, and what none may hold."""

import unicodedata
from pathlib import Path

from lincorr.errors import BadInput

MISSING_TEXT = "\ue000missing"  # what a missing chunk of texts reads as in a store


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without BOM, with CR, LF and CRLF as ``\\n``.

    Raises:
        BadInput: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8: "
            "save the file with the encoding UTF-8"
        ) from None
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path}: cannot be read: {' '.join(str(reason).split())}") from None


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file.

    No other character ends a line: U+2028, U+0085 and the like are part of a name.

    Raises:
        BadInput: it cannot be read, or is not UTF-8.
    """
    return read_text(path).split("\n")


def same_form(text: str) -> str:
    """Return the form in which texts are compared, Unicode's NFC: é is é, however it was typed."""
    return unicodedata.normalize("NFC", text)


def text_problem(text: str) -> str | None:
    """Return what keeps a text from being asked and stored; None if nothing does."""
    if "\0" in text:
        return "has a NUL character: leave it out"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return (
            "has half of a surrogate pair: write the character itself, or its escape with U and eight digits"
        )
    if text == MISSING_TEXT:
        return "is what a store writes for text that is missing: choose another"
    return None
