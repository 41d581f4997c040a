"""One setting of a catalogue file, which knows its file and key, so that a refusal can name them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lincorr.errors import BadInput
from lincorr.relations.messages import enumeration, short, suggestion
from lincorr.text import text_problem

# Names become array names in a store and parts of "source--target".
_NAME = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
_LONGEST_NAME = 100  # letters: names of files are longer by "-vocabulary-ridge" and the like, and end at 255
_METADATA = "zarr.json"  # a file that every folder of a store has


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in a catalogue file, with the file's path and its dotted key ("" for the whole file)."""

    path: Path
    key: str
    value: Any

    @property
    def name(self) -> str:
        """The name that the user gave this setting: its key without the section."""
        # Names may hold dots, but the section above them does not.
        return self.key.split(".", 1)[1]

    def refuse(self, problem: str) -> NoReturn:
        """Raise BadInput for this setting."""
        where = f"{self.path}: {self.key}: " if self.key else f"{self.path}: "
        raise BadInput(where + problem)

    def entries(self) -> list["Setting"]:
        """The members of a mapping of names that the user chose.

        Raises:
            BadInput: it is not a mapping, or a name cannot be used in file names.
        """
        if not isinstance(self.value, dict):
            self.refuse(f"{short(self.value)} is not a mapping of names: write 'name: ...' lines")
        for name in self.value:
            if not isinstance(name, str):
                self.refuse(f"the name {short(name)} is not text: put it in quotes")
            if not _NAME.fullmatch(name):
                self.refuse(
                    f"the name {short(name)} cannot be used in file names: "
                    "use letters, digits and single '-', '_' or '.' between them"
                )
            if len(name) > _LONGEST_NAME or name.lower() == _METADATA:
                self.refuse(
                    f"the name {short(name)} cannot be used in file names: choose another, of "
                    f"{_LONGEST_NAME} letters at most"
                )
        return [self._member(name) for name in self.value]

    def section(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, "Setting"]:
        """The members of a mapping whose keys the schema fixes.

        Raises:
            BadInput: it is not a mapping, has a key that is not allowed, or a required one is missing.
        """
        if not isinstance(self.value, dict):
            self.refuse(f"{short(self.value)} is not a mapping: give {enumeration(allowed)}")
        for key in self.value:
            if key not in allowed:
                self.refuse(f"unknown key {short(key)}: {suggestion(str(key), allowed)}")
        for key in required:
            if key not in self.value:
                self.refuse(f"the key {key!r} is missing: add '{key}: ...'")
        return {key: self._member(key) for key in self.value}

    def text(self) -> str:
        """The value, which must be text and not blank; raises BadInput if it is not."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.refuse(f"{short(self.value)} is not text: write it in quotes")
        if problem := text_problem(self.value):
            self.refuse(f"{short(self.value)} {problem}")
        return self.value

    def texts(self) -> list["Setting"]:
        """The members of a list, under the list's own key; raises BadInput if it is not a list."""
        if not isinstance(self.value, list):
            self.refuse(f"{short(self.value)} is not a list: write [a, b]")
        return [Setting(self.path, self.key, value) for value in self.value]

    def _member(self, key: str) -> "Setting":
        return Setting(self.path, f"{self.key}.{key}" if self.key else key, self.value[key])
