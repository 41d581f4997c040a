"""What a model can be asked: tokens that it has embeddings for, prompts no longer than its positions."""

from collections.abc import Iterable, Mapping
from typing import Any

from lincorr.errors import BadInput
from lincorr.model.reach import grows
from lincorr.prompts.columns import Columns
from lincorr.prompts.subjects import STRING, Subjects
from lincorr.prompts.tokens import Tokenizer, encode, token_ids
from lincorr.prompts.trees import PromptTemplate, prompt_ids


def embedded_tokens(config: Any) -> int | None:
    """Return the number of token ids that a model has embeddings for; None where its config does not say."""
    size = getattr(config.get_text_config(), "vocab_size", None)
    return size if isinstance(size, int) else None


def positions(config: Any) -> int | None:
    """Return the number of positions of a model; None where it has no such limit, or does not say."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 and not grows(config) else None


def require_answerable(
    config: Any,
    tokenizer: Tokenizer,
    prompts: Mapping[str, PromptTemplate],
    columns: Mapping[str, Columns],
    subjects: Subjects,
    extremes: Subjects,
) -> None:
    """Refuse prompts of no token, of tokens without an embedding, or longer than the model's positions.

    Args:
        config: of the model.
        prompts, columns: template by template.
        extremes: the subjects with the longest and the shortest prompts.

    Raises:
        BadInput: names the prompt.
    """
    n_rows = embedded_tokens(config)
    if n_rows is not None and token_ids(tokenizer)[-1] >= n_rows:
        _require_embedded(n_rows, tokenizer, prompts, columns, subjects)
    most = positions(config)
    for name, template in prompts.items():
        of_template = prompt_ids(tokenizer, template, extremes.ids.tolist(), extremes.texts)
        for text, ids in zip(extremes.texts, of_template, strict=True):
            if not ids:
                raise BadInput(
                    f"template {name!r}: with {_short(text)} its prompt has no token; add words to the "
                    "template, or leave that subject out"
                )
            if most is not None and len(ids) > most:
                raise BadInput(
                    f"template {name!r}: with {_short(text)} its prompt has {len(ids)} tokens, and "
                    f"the model has {most} positions; shorten one of them"
                )


def _require_embedded(
    n_rows: int,
    tokenizer: Tokenizer,
    prompts: Mapping[str, PromptTemplate],
    columns: Mapping[str, Columns],
    subjects: Subjects,
) -> None:
    def check(ids: Iterable[int], where: str) -> None:
        worst = max(ids, default=0)
        if worst >= n_rows:
            token = tokenizer.convert_ids_to_tokens(int(worst))
            raise BadInput(
                f"{where}: the token {token!r} has id {worst}, and the model embeds {n_rows} tokens; the "
                "tokenizer belongs to another model, or the model was not resized for it"
            )

    for name, template in prompts.items():
        check((*template.before, *template.after), f"template {name!r}")
        check(columns[name].ids.tolist(), f"the answers to template {name!r}")
    for token, text in zip(subjects.ids.tolist(), subjects.texts, strict=True):
        check(encode(tokenizer, text) if token == STRING else [token], f"subject {_short(text)}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
