"""Every setting by its dotted name: its description, its default, and how its flag is written."""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pipeline.config.sections import RunConfig, Section


@functools.cache
def settings() -> Mapping[str, tuple[str, Any]]:
    """Return every leaf setting: dotted name -> (description, default)."""
    leaves: dict[str, tuple[str, Any]] = {}
    for name, field in RunConfig.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            leaves[name] = (field.description or "", field.default)
            continue
        for inner, leaf in section.model_fields.items():
            default = None if leaf.is_required() else leaf.default
            leaves[f"{name}.{inner}"] = (leaf.description or "", default)
    return leaves


@functools.cache
def forms() -> Mapping[str, str]:
    """Return how every leaf setting is written as a flag: its choices, or what kind of value it takes."""
    found: dict[str, str] = {}
    for name, field in RunConfig.model_fields.items():
        section = section_of(field.annotation)
        leaves = {name: field} if section is None else section.model_fields
        prefix = "" if section is None else f"{name}."
        found |= {prefix + leaf: "|".join(_form(inner.annotation)) for leaf, inner in leaves.items()}
    return found


_FORMS = {bool: "true|false", int: "INTEGER", float: "NUMBER", Path: "PATH"}


def _form(annotation: Any) -> list[str]:
    """The ways to write a value of this type; None is left out, as it is the default where it is one."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if origin is Annotated:
        return _form(get_args(annotation)[0])
    if origin is tuple:
        return ["|".join(_form(get_args(annotation)[0])) + ",..."]
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return list(dict.fromkeys(form for part in parts for form in _form(part)))
    return [_FORMS.get(annotation, "TEXT")]


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section that a field of `RunConfig` holds; None for a leaf setting."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, Section)]
    return found[0] if found else None
