"""The stored maps of a run's relations, for the verbs that read W."""

from collections.abc import Mapping
from dataclasses import dataclass

from lincorr.errors import BadInput
from lincorr.relations.relation import first_wording
from lincorr.scores.wordings import Wordings
from lincorr.solvers.centred import centred
from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.wordings import wordings_of
from pipeline.fit.inputs import basis_of
from pipeline.prepare.prepare import prepare_relations
from pipeline.prepare.relations import RelationInputs


@dataclass(frozen=True, slots=True)
class StoredMap:
    """One relation with one of its maps, centred to be read; `name` is the fit's."""

    inputs: RelationInputs
    name: str
    fitted: LinearMap

    def sources(self, *, every: bool) -> list[int]:
        """Return the token ids of the answers, or of every source of the map.

        Raises:
            BadInput: every source is asked for, and the map has only the answers.
        """
        if every and basis_of(self.name) != "vocabulary":
            raise BadInput(
                f"--all-sources: the map {self.name!r} has no sources but the answers; leave it out, or name "
                "a map of the full vocabulary (--map vocabulary-ridge)"
            )
        ids: list[int] = (self.fitted.source_ids if every else self.inputs.source.ids).tolist()
        return ids


def stored_maps(config: RunConfig, name: str | None) -> tuple[list[StoredMap], list[str]]:
    """Return the named map of every relation, by default the best-reading one, and every token's text.

    Where a wording is to be chosen, the relation is read in the one that is chosen.

    Raises:
        BadInput: there is no such map.
    """
    store = LogitStore.open(config.store_url())
    relations, texts = prepare_relations(config)
    if config.wordings == "chosen":
        wordings = {one.relation: one for one in wordings_of(store, relations)}
        relations = tuple(inputs for inputs in relations if _is_chosen(inputs, wordings))
    return [_stored(store, inputs, name) for inputs in relations], texts


def _is_chosen(inputs: RelationInputs, wordings: Mapping[str, Wordings]) -> bool:
    several = wordings.get(first_wording(inputs.name))
    return several is None or several.chosen == inputs.name


def _stored(store: LogitStore, inputs: RelationInputs, name: str | None) -> StoredMap:
    stored = store.maps.fits(inputs.name)
    if name is not None and name not in stored:
        raise BadInput(f"--map: {name!r} is not stored; there are {', '.join(stored) or 'none'}")
    if not stored:
        raise BadInput(f"store: no map of {inputs.name!r} is stored; run `lincorr fit` first")
    chosen = name or stored[-1]
    return StoredMap(inputs, chosen, centred(store.maps.load(inputs.name, chosen)))
