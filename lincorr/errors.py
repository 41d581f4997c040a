"""What lincorr raises for bad input and for a run that failed, and others' errors in one line."""

from lincorr.redact import redacted

_BEGINNING, _END = 300, 200  # letters of others' errors that are kept


class LincorrError(Exception):
    """A failure; its message is one line that says what is wrong and what to do about it."""

    exit_code = 1


class BadInput(LincorrError):
    """What the user gave cannot be used; nothing on disk was changed."""

    exit_code = 2


class ReadOnly(BadInput):
    """A location that may be read but not written."""


class Unlockable(LincorrError):
    """An object store whose server does not support conditional PUTs."""


class StoreDamaged(LincorrError):
    """Something that a store should contain is missing, or is not what was written."""


def in_one_line(problem: BaseException) -> str:
    """Return the text of an error in one line, without credentials; the name of its class if it has none.

    Libraries say why in any of their lines. Of a long text the beginning and the end are kept.
    """
    text = redacted(" ".join(str(problem).split()))
    if len(text) > _BEGINNING + _END:
        text = f"{text[:_BEGINNING].rstrip()} … {text[-_END:].lstrip()}"
    return text or type(problem).__name__
