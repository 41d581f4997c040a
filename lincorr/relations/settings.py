"""One setting of a catalogue file, with its place for error messages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lincorr.errors import BadInput
from lincorr.relations.relation import listed, shown, suggest


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in a catalogue file, and where it stands, so that a refusal can say so."""

    path: Path
    key: str
    value: Any

    def refuse(self, problem: str) -> NoReturn:
        """Raise BadInput for this setting."""
        where = f"{self.path}: {self.key}: " if self.key else f"{self.path}: "
        raise BadInput(where + problem)

    def entries(self) -> list["Setting"]:
        """The members of a mapping of names the user chose."""
        if not isinstance(self.value, dict):
            self.refuse(f"{shown(self.value)} is not a mapping of names: write 'name: ...' lines")
        for name in self.value:
            if not isinstance(name, str):
                self.refuse(f"the name {shown(name)} is not text: put it in quotes")
            if not _NAME.fullmatch(name):
                self.refuse(
                    f"the name {shown(name)} cannot be used in file names: "
                    "use letters, digits and single '-', '_' or '.' between them"
                )
        return [self._member(name) for name in self.value]

    def section(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, "Setting"]:
        """The members of a mapping whose keys the schema fixes."""
        if not isinstance(self.value, dict):
            self.refuse(f"{shown(self.value)} is not a mapping: give {listed(allowed)}")
        for key in self.value:
            if key not in allowed:
                self.refuse(f"unknown key {shown(key)}: {suggest(str(key), allowed)}")
        for key in required:
            if key not in self.value:
                self.refuse(f"the key {key!r} is missing: add '{key}: ...'")
        return {key: self._member(key) for key in self.value}

    def text(self) -> str:
        """The value, which must be text with more than blanks."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.refuse(f"{shown(self.value)} is not text: write it in quotes")
        return self.value

    def texts(self) -> list["Setting"]:
        """The members of a list."""
        if not isinstance(self.value, list):
            self.refuse(f"{shown(self.value)} is not a list: write [a, b]")
        return [Setting(self.path, self.key, value) for value in self.value]

    def _member(self, key: str) -> "Setting":
        return Setting(self.path, f"{self.key}.{key}" if self.key else key, self.value[key])

    @property
    def name(self) -> str:
        """The last part of the key."""
        # Names may hold dots, but the keys above them are the schema's and do not.
        return self.key.split(".", 1)[1]


# Names become array names in a store and parts of "source--target".
_NAME = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
