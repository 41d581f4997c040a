"""What the model said when it was asked outright.

asked/<relation>/logits   (question, source, target) float32; what these are as attribute
"""

import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from lincorr.errors import LincorrError, StoreDamaged
from lincorr.store.chunks import checksummed
from lincorr.store.hierarchy import READ_ERRORS, Hierarchy
from lincorr.store.seal import seal

Answers = NDArray[np.float32]


class AskedStore:
    """The answers of a store's model to questions about the sources of relations."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._url = hierarchy.url
        self._hierarchy = hierarchy

    def names(self) -> list[str]:
        """Names of relations that were asked about."""
        return self._hierarchy.names("asked")

    def save(self, name: str, answers: Answers, asked: Mapping[str, Any], inputs: str) -> None:
        """Store answers (k, p, q), whole; see `begin` and `finish`."""
        self.begin(name, answers.shape, asked, inputs)
        self.write(name, 0, answers, inputs)
        self.finish(name, inputs)

    def begin(self, name: str, shape: tuple[int, ...], asked: Mapping[str, Any], inputs: str) -> None:
        """Make room for answers (k, p, q), in place of others; they are none until `finish`.

        Args:
            asked: JSON values that describe them: k questions, p sources, q targets.
            inputs: digest of all that goes into them; answers to others are refused from now on.
        """
        self._hierarchy.close_arrays()
        group = self._hierarchy.group.create_group(
            f"asked/{name}", overwrite=True, attributes={"asked": dict(asked), "coming": inputs}
        )
        group.create_array(
            "logits",
            shape=shape,
            chunks=(1, *shape[1:]),
            dtype=np.float32,
            fill_value=float("nan"),
            compressors=checksummed(),
            dimension_names=("question", "source", "target"),
        )

    def write(self, name: str, first: int, answers: Answers, inputs: str) -> int:
        """Store the answers (any number, p, q) to questions from the first one on; return their bytes.

        Raises:
            LincorrError: others than of these inputs were begun: a task may outlive its run.
        """
        if self._facts(name).get("coming") != inputs:
            raise LincorrError(
                f"extract: answers in {self._url!r}, asked/{name}, were begun anew; this task's run has ended"
            )
        self._hierarchy.array(f"asked/{name}/logits")[first : first + len(answers)] = answers
        return int(answers.nbytes)

    def finish(self, name: str, inputs: str) -> None:
        """Seal the answers to all questions.

        Args:
            inputs: as of `begin`. It is written last: answers without are none.

        Raises:
            StoreDamaged: they are not all there.
        """
        answers: Answers = np.asarray(self._hierarchy.array(f"asked/{name}/logits")[...])
        if np.isnan(answers).any():
            raise StoreDamaged(
                f"store: answers in {self._url!r}, asked/{name}, are missing; run `lincorr extract` again"
            )
        facts: dict[str, Any] = {"asked": self.asked(name), "crc32": _crc32(answers)}
        group = cast(zarr.Group, self._hierarchy.group[f"asked/{name}"])
        group.update_attributes({**facts, "seal": seal(facts), "inputs": inputs})

    def inputs(self, name: str) -> str | None:
        """Return the digest that answers were made from, None if there are none, or not all of them."""
        found = self._facts(name).get("inputs")
        return None if found is None else str(found)

    def digest(self, name: str) -> list[str]:
        """Return what identifies stored answers: the digest of their inputs, and their checksum."""
        facts = self._facts(name)
        return [str(facts.get("inputs")), str(facts.get("crc32"))]

    def asked(self, name: str) -> Mapping[str, Any]:
        """Return the questions, sources and targets of stored answers."""
        return dict(self._facts(name).get("asked", {}))

    def load(self, name: str) -> Answers:
        """Return stored answers (k, p, q).

        Raises:
            StoreDamaged: they are not what was written.
        """
        try:
            group = cast(zarr.Group, self._hierarchy.group[f"asked/{name}"])
            facts = {key: cast(Any, group.attrs[key]) for key in ("asked", "crc32")}
            answers: Answers = np.asarray(cast(Any, group["logits"])[...])
            if group.attrs["seal"] != seal(facts) or _crc32(answers) != facts["crc32"]:
                raise ValueError("they were changed, or a chunk is missing")
            return answers
        except READ_ERRORS as problem:
            raise StoreDamaged(
                f"store: the answers in {self._url!r}, asked/{name}, are damaged ({problem}); run `lincorr "
                "extract` to ask again"
            ) from problem

    def is_whole(self, name: str, inputs: str) -> bool:
        """Whether there are undamaged answers to these inputs; they are read whole."""
        return self.inputs(name) == inputs and self._fault(name) is None

    def verify(self) -> list[str]:
        """Read all answers; return one line for each relation's that are damaged."""
        begun = [name for name in self.names() if self._is_begun(name)]
        faults = [self._fault(name) for name in self.names() if name not in begun]
        return [fault for fault in faults if fault is not None]

    def _is_begun(self, name: str) -> bool:
        """Whether answers are being written, or were when a run was killed: not yet data."""
        try:
            return "inputs" not in (self._hierarchy.attributes(f"asked/{name}") or {"inputs": "lost"})
        except StoreDamaged:
            return False

    def _fault(self, name: str) -> str | None:
        try:
            self.load(name)
        except StoreDamaged as problem:
            return str(problem)
        return None

    def _facts(self, name: str) -> dict[str, Any]:
        """The attributes of a relation's answers; none where they are missing or damaged."""
        try:
            return self._hierarchy.attributes(f"asked/{name}") or {}
        except StoreDamaged:
            return {}


def _crc32(answers: Answers) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(answers).tobytes()):08x}"
