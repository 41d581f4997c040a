"""What lincorr raises for bad input and for a run that failed, and the first line of others' errors."""

from lincorr.redact import redacted


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


def first_line(problem: BaseException) -> str:
    """Return the first line of an error's text, without credentials; the name of its class if it has none."""
    return redacted((str(problem).strip().splitlines() or [type(problem).__name__])[0])
