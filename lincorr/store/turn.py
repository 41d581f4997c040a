"""Whose turn it is to write maps and scores: a task may outlive its run, and another run may have begun."""

from uuid import uuid4

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy


class Turn:
    """The turn of one opened store: `take` it, or `join` the run that has; the first write takes it, too."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._token: str | None = None

    def take(self) -> str:
        """Begin to write, and refuse tasks of earlier runs; return what those of this one join with."""
        self._token = uuid4().hex
        try:
            group = self._hierarchy.group.require_group("maps")
        except READ_ERRORS:  # its description is damaged, and says nothing else
            self._hierarchy.forget_description("maps")
            group = self._hierarchy.group.require_group("maps")
        group.attrs["turn"] = self._token
        return self._token

    def join(self, token: str) -> None:
        """Write as a task of the run that has taken this turn."""
        self._token = token

    def require(self) -> None:
        """Take the turn, unless that was done.

        Raises:
            LincorrError: another run has taken it since.
        """
        if self._token is None:
            self.take()
        elif self._known() != self._token:
            raise LincorrError(
                f"store: another run writes maps and scores in {self._hierarchy.url!r}; this task's run has "
                "ended"
            )

    def _known(self) -> str | None:
        try:
            found = (self._hierarchy.attributes("maps") or {}).get("turn")
        except StoreDamaged:
            return None
        return None if found is None else str(found)
