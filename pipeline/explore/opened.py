"""A store that is open to be read: its relations and maps, and the words that they can be asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache

from lincorr.errors import BadInput
from lincorr.prompts.words import Match, WordIndex, best_match
from lincorr.solvers.result import Factors
from lincorr.store.store import LogitStore
from pipeline.config import RunConfig
from pipeline.evaluate.show import answer_tokens, note_of
from pipeline.evaluate.wordings import wordings_of
from pipeline.explore.paths import Paths
from pipeline.explore.questions import MapName, Question, StoreName
from pipeline.explore.weights import ReadMap
from pipeline.prepare.prepare import prepare_relations
from pipeline.prepare.relations import RelationInputs

_MAPS = 8  # that stay in memory


class NoToken(BadInput):
    """No token is the word that was asked for, or near it."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers of one side of a relation: what they may be typed as -> token id, and their index."""

    tokens: dict[str, int]
    index: WordIndex


class OpenedStore:
    """A store's maps and words. Nothing is written, and no weights of a model are loaded.

    Attributes:
        texts: surface text of every token.
        relations: those of the configuration that have maps, by name; the chosen wordings first.
        chosen: names of relations in the wording that leave-one-out chooses, of those that have several.

    Raises:
        BadInput: there is no store, or it has no map.
    """

    def __init__(self, config: RunConfig) -> None:
        self._store = LogitStore.open(config.store_url())
        found, self.texts = prepare_relations(config)
        self.fits = {one.name: self._store.maps.fits(one.name) for one in found}
        fitted = [one for one in found if self.fits[one.name]]
        self.chosen = _chosen(self._store, fitted)
        self.relations = {
            one.name: one for one in sorted(fitted, key=lambda one: one.name not in self.chosen)
        }
        if not self.relations:
            raise BadInput(f"store: {self._store.url!r} has no map yet; run `lincorr fit` first")
        self.paths = Paths(config, self._store)
        self.model = config.model.spec().described
        self._stored_map = lru_cache(_MAPS)(self._load)
        self._answers = cache(self._answers_of)

    def warm(self) -> None:
        """Do once what no question should wait for: fold the vocabulary, read the head, plan the fits."""
        relation = next(iter(self.relations))
        self._every.match("")
        self.read(relation, self.fits[relation][-1], None)
        self.paths.why_not(relation, self.fits[relation][-1])

    def name(self) -> StoreName:
        """Return what can be chosen of this store."""
        maps = tuple(
            MapName(
                name,
                inputs.relation.source.template.text,
                inputs.relation.target.template.text,
                tuple(self.fits[name]),
                name in self.chosen,
            )
            for name, inputs in self.relations.items()
        )
        return StoreName(self._store.url, self.model, maps, self._example())

    def _example(self) -> str:
        """A word to begin with: a well-known source of the first relation."""
        inputs = next(iter(self.relations.values()))
        token = next(iter(inputs.truth), int(inputs.source.ids[0]))
        return self.texts[token].strip()

    def inputs(self, relation: str) -> RelationInputs:
        """Return a relation; BadInput if it has no map here."""
        if relation not in self.relations:
            raise BadInput(f"relation: {relation!r} has no map in {self._store.url!r}")
        return self.relations[relation]

    def read(self, relation: str, fit: str, root_penalty: float | None) -> ReadMap:
        """Return a map, as it is stored or at another penalty (√λ/σ₁)."""
        self.inputs(relation)
        if fit not in self.fits[relation]:
            raise BadInput(f"fit: {fit!r} of {relation!r} is not stored")
        stored = self._stored_map(relation, fit)
        if root_penalty is None or root_penalty == stored.fitted.diagnosis.root_penalty:
            return stored
        return self.paths.map_at(relation, fit, root_penalty)

    def find(self, question: Question) -> tuple[int, str | None]:
        """Return the token that is asked for, and a note where it is not the word that was typed.

        Raises:
            NoToken: there is none.
        """
        if question.token is not None and 0 <= question.token < len(self.texts):
            return question.token, None
        answers = self._answers(question.relation, question.target)
        indexes = [answers.index, *([self._every] if self._reaches_every(question) else [])]
        match = best_match(question.word, indexes)
        for index in indexes:
            match = match or index.match_typo(question.word)
        if match is None:
            raise NoToken(f"no {'target' if question.target else 'source'} token {question.word!r}")
        token = answers.tokens.get(match.text)
        token = self._ids[match.text] if token is None else token
        return token, note_of(question.word, Match(match.text, match.same), self.texts[token])

    def suggest(self, question: Question, count: int = 8) -> list[str]:
        """Return texts that begin with the word, the answers first, and after those what is similar to it."""
        index = self._answers(question.relation, question.target).index
        indexes = [index, *([self._every] if self._reaches_every(question) else [])]
        found = [text for one in indexes for text in one.beginning(question.word, count)]
        if len(found) < count:
            found += [text for one in indexes for text in one.nearest(question.word, count)]
        return list(dict.fromkeys(found))[:count]

    def _reaches_every(self, question: Question) -> bool:
        """Whether any token can be asked for in this map, or only the answers."""
        if question.fit.startswith("domain"):
            return False
        return not question.target or self.read(question.relation, question.fit, None).wide is not None

    def _load(self, relation: str, fit: str) -> ReadMap:
        head = self.paths.head()
        fitted = self._store.maps.load(relation, fit, columns=head.columns if head else None)
        weights = fitted.weights
        if head is None or fitted.hidden is None or not isinstance(weights, Factors):
            return ReadMap.of(fitted, None)
        wide = replace(weights, right=head.weight)  # the core has the head's scale
        return ReadMap.of(fitted, lambda: wide)

    def _answers_of(self, relation: str, target: bool) -> _Answers:
        inputs = self.inputs(relation)
        tokens = answer_tokens(inputs.target if target else inputs.source, self.texts)
        return _Answers(tokens, WordIndex(tokens))

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for token, text in enumerate(self.texts):
            ids.setdefault(text, token)
        return ids

    @cached_property
    def _every(self) -> WordIndex:
        return WordIndex(self._ids)


def _chosen(store: LogitStore, relations: Sequence[RelationInputs]) -> set[str]:
    try:
        return {one.chosen for one in wordings_of(store, relations)}
    except BadInput:  # a wording is not fitted yet
        return set()
