"""Look a word up in a fitted map: its strongest targets, or its strongest sources."""

import difflib
from typing import Any

from lincorr.errors import BadInput
from lincorr.solvers.result import LinearMap
from lincorr.store import LogitStore
from pipeline.config import RunConfig
from pipeline.fit import FIT_NAMES
from pipeline.prepare import RelationInputs, prepare_relations


def show_word(
    config: RunConfig, word: str, *, target: bool, map_name: str | None, top: int
) -> list[dict[str, Any]]:
    """Return the strongest links of a word in every relation that has it, as JSON values.

    Args:
        target: the word is a target; show its strongest sources.
        map_name: which fit; default the best-reading one that is kept.

    Raises:
        BadInput: no map has the word; the message suggests the nearest.
    """
    store = LogitStore.open(config.store_url())
    relations, texts = prepare_relations(config)
    found, candidates = [], set()
    for inputs in relations:
        kept = [n for n in FIT_NAMES if store.maps.inputs(inputs.name, n) is not None]
        if map_name is not None and map_name not in kept:
            raise BadInput(f"--map: {map_name!r} is not kept; there are {', '.join(kept) or 'none'}")
        if not kept:
            raise BadInput(f"store: no map of {inputs.name!r} is kept; run `lincorr fit` first")
        name = map_name or kept[-1]
        fitted = store.maps.load(inputs.name, name)
        known = fitted.target_ids if target else fitted.source_ids
        by_text = {texts[token]: int(token) for token in known}
        candidates |= set(by_text)
        token = _match(word, by_text)
        if token is not None:
            links = _links(fitted, inputs, token, target=target, top=top)
            found.append(
                {
                    "relation": inputs.name,
                    "map": name,
                    "word": texts[token],
                    "links": [
                        {"token": texts[other], "weight": weight, "right": right}
                        for other, weight, right in links
                    ],
                }
            )
    if not found:
        near = difflib.get_close_matches(word, sorted({c.strip() for c in candidates}), n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise BadInput(f"word: {word!r} is no {'target' if target else 'source'} token{hint}")
    return found


def _match(word: str, by_text: dict[str, int]) -> int | None:
    """Find a word with a leading space, so in other capitals, or as it is; in this order."""
    folded = {text.casefold(): token for text, token in reversed(by_text.items()) if text[:1] == " "}
    for known, key in ((by_text, " " + word), (folded, f" {word.strip()}".casefold()), (by_text, word)):
        if key in known:
            return known[key]
    return None


def _links(
    fitted: LinearMap, inputs: RelationInputs, token: int, *, target: bool, top: int
) -> list[tuple[int, float, bool]]:
    """Return (token, weight, right) of the strongest links: targets, or sources among the answers."""
    truth = inputs.truth
    if not target:
        return [(t, w, t in truth.get(token, ())) for t, w in fitted.strongest_targets(token, top)]
    sources = inputs.source.ids.tolist()
    weights = fitted.block(sources, [token])[:, 0].tolist()
    strongest = sorted(zip(sources, weights, strict=True), key=lambda link: -link[1])[:top]
    return [(source, w, token in truth.get(source, ())) for source, w in strongest]
