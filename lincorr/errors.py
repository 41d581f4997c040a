"""The two ways in which lincorr says no: bad input, and a run that failed."""


class LincorrError(Exception):
    """A failure with one clear line to say: what is wrong, and what mends it."""

    exit_code = 1


class BadInput(LincorrError):
    """What the user gave cannot be used; nothing on disk was changed."""

    exit_code = 2


class ReadOnly(BadInput):
    """A place may be read, and not written."""


class Unlockable(LincorrError):
    """A server that does not know conditional PUTs."""


class StoreDamaged(LincorrError):
    """Something that a store says it has is not there, or not what was written."""
