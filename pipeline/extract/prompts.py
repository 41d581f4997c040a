"""Which prompts share a forward pass, and in which batches: of a shard, and of the check before it."""

from collections.abc import Mapping, Sequence

from lincorr.prompts.subjects import STRING, Subjects
from lincorr.prompts.tokens import Tokenizer
from lincorr.prompts.trees import (
    Batch,
    PromptTemplate,
    Trunk,
    batches,
    group_templates,
    merge_prompts,
    prompt_ids,
    prompt_template,
    trunk_of,
)
from lincorr.store.identity import Passes

Prompts = list[list[list[int]]]  # template by template, subject by subject: token ids


def template_groups(
    tokenizer: Tokenizer, texts: Mapping[str, str], passes: Passes
) -> list[dict[str, PromptTemplate]]:
    """Tokenise templates (name -> text) and group those that share a prompt tree."""
    templates = {name: prompt_template(tokenizer, text) for name, text in texts.items()}
    merged = passes in ("trunk", "trees")
    groups = group_templates(templates) if merged else [[name] for name in templates]
    return [{name: templates[name] for name in group} for group in groups]


def prompts_of(tokenizer: Tokenizer, templates: Sequence[PromptTemplate], subjects: Subjects) -> Prompts:
    """Return the token ids of every subject's prompt, template by template."""
    ids = subjects.ids.tolist()
    return [prompt_ids(tokenizer, template, ids, subjects.texts) for template in templates]


def tree_batches(
    prompts: Prompts,
    templates: Sequence[PromptTemplate],
    subjects: Subjects,
    passes: Passes,
    batch_tokens: int,
    shard_rows: int,
) -> list[Batch]:
    """Merge every subject's prompts into a tree; return the batches of all trees of one shape."""
    trunk = trunk_of(templates) if passes == "trunk" else Trunk()
    trees = [merge_prompts(of_subject, trunk) for of_subject in zip(*prompts, strict=True)]
    free_text = bool((subjects.ids == STRING).any())
    return list(batches(trees, batch_tokens, shard_rows, free_text=free_text))
