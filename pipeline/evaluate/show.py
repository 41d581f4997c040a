"""Look a word up in fitted maps: its strongest targets, or its strongest sources."""

from dataclasses import dataclass

from lincorr.errors import BadInput
from lincorr.prompts.columns import Columns
from lincorr.prompts.words import Match, match_typo, match_word, nearest
from lincorr.scores.relation_scores import Link
from pipeline.config import RunConfig
from pipeline.evaluate.stored_maps import StoredMap, stored_maps


@dataclass(frozen=True, slots=True)
class ShownWord:
    """The strongest links of a word in one map.

    Attributes:
        word: the token that was found.
        note: what to know where it is not the word that was asked for.
        among, of: what the sources are of, and how many tokens the links were chosen from.
    """

    relation: str
    map: str
    word: str
    note: str | None
    among: str
    of: int
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class _Words:
    """What a word may be in one map.

    Attributes:
        answers: token text, or name of which only the first word is a token -> token id.
        others: text -> id of the map's other tokens.
    """

    stored: StoredMap
    answers: dict[str, int]
    others: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Found:
    words: _Words
    match: Match
    token: int

    @property
    def is_answer(self) -> bool:
        return self.match.text in self.words.answers


def show_word(
    config: RunConfig, word: str, *, target: bool, map_name: str | None, top: int, all_sources: bool = False
) -> list[ShownWord]:
    """Return the strongest links of a word.

    The relations are those that have the word among their answers, else all that have its token. A word that
    no map has is matched as a typo.

    Args:
        target: the word is a target; show its strongest sources.
        map_name: which fit; default the best-reading one that is stored.
        all_sources: a target's sources are every token of the vocabulary, not only the answers.

    Raises:
        BadInput: no map has the word, or something near it; the message names the nearest.
    """
    if all_sources and not target:
        raise BadInput("--all-sources: it is about a target's sources; give --target too")
    maps, texts = stored_maps(config, map_name)
    known = [_words(stored, texts, target=target) for stored in maps]
    found = _find(word, known)
    if not found:
        raise BadInput(_refusal(word, known, target=target))
    return [_shown(one, word, texts, target=target, top=top, every=all_sources) for one in found]


def answer_tokens(columns: Columns, texts: list[str]) -> dict[str, int]:
    """Return what an answer may be typed as -> token id: its token's text, or its name if that is longer."""
    answers = {texts[token]: token for token in columns.ids.tolist()}
    for name, token, whole in zip(columns.names, columns.ids.tolist(), columns.whole, strict=True):
        if not whole:
            answers.setdefault(name, token)
    return answers


def _words(stored: StoredMap, texts: list[str], *, target: bool) -> _Words:
    columns = stored.inputs.target if target else stored.inputs.source
    ids = stored.fitted.target_ids if target else stored.fitted.source_ids
    answers = answer_tokens(columns, texts)
    others: dict[str, int] = {}
    for token in ids.tolist():
        if texts[token] not in answers:
            others.setdefault(texts[token], token)
    return _Words(stored, answers, others)


def _find(word: str, known: list[_Words]) -> list[_Found]:
    """Find the word in each map; only the best kind of match in any of them counts."""
    found = []
    for words in known:
        if (match := match_word(word, [*words.answers, *words.others])) is not None:
            found.append(_located(words, match))
    if not found:
        for words in known:
            match = match_typo(word, words.answers) or match_typo(word, words.others)
            if match is not None:
                found.append(_located(words, match))
    found = [one for one in found if one.match.same] or found
    found = [one for one in found if one.is_answer] or found
    return found


def _located(words: _Words, match: Match) -> _Found:
    token = words.answers[match.text] if match.text in words.answers else words.others[match.text]
    return _Found(words, match, token)


def _refusal(word: str, known: list[_Words], *, target: bool) -> str:
    near = [text for words in known for text in nearest(word, words.answers)]
    near += [text for words in known for text in nearest(word, words.others)]
    shown = ", ".join(repr(text) for text in list(dict.fromkeys(near))[:5])
    hint = f"; near it are {shown}" if shown else ""
    return f"word: {word!r} is no {'target' if target else 'source'} token{hint}"


def _shown(found: _Found, word: str, texts: list[str], *, target: bool, top: int, every: bool) -> ShownWord:
    stored, token = found.words.stored, found.token
    truth = stored.inputs.truth
    if target:
        sources = stored.sources(every=every)
        weights = stored.fitted.block(sources, [token])[:, 0].tolist()
        ranked = sorted(zip(sources, weights, strict=True), key=lambda link: -link[1])[:top]
        links = [(source, weight, token in truth.get(source, ())) for source, weight in ranked]
        of = len(sources)
    else:
        strongest = stored.fitted.strongest_targets(token, top)
        links = [(t, weight, t in truth.get(token, ())) for t, weight in strongest]
        of = len(stored.fitted.target_ids)
    return ShownWord(
        relation=stored.inputs.name,
        map=stored.name,
        word=texts[token],
        note=note_of(word, found.match, texts[token]),
        among="every token" if every else "the answers",
        of=of,
        links=tuple(Link(texts[t], weight, right) for t, weight, right in links),
    )


def note_of(word: str, match: Match, text: str) -> str | None:
    """Return what to know where the token `text` is not the word that was asked for."""
    if match.text != text:
        return f"{match.text!r} is not one token; showing {text!r}, its first"
    return None if match.same else f"no token {word!r}; showing {text!r}"
