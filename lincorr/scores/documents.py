"""Results as documents: typed values to JSON and back, under one schema version."""

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from lincorr.errors import BadInput

SCHEMA = 6
"""Raised when a result gains, loses or changes a field: stored ones are then computed anew."""

T = TypeVar("T")

_SCALARS = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


class _Mismatch(ValueError):
    """A JSON value that is not of the type that is read."""


def key(name: str) -> dict[str, str]:
    """Return the metadata of a dataclass field whose JSON key is no Python name."""
    return {"key": name}


def to_json(value: Any) -> Any:
    """Return dataclasses, mappings and sequences as JSON values.

    NaN and infinity become None; a field that is None by default and has no value is left out.
    """
    if dataclasses.is_dataclass(value):
        return {
            field.metadata.get("key", field.name): to_json(part)
            for field in dataclasses.fields(value)
            if (part := getattr(value, field.name)) is not None or field.default is dataclasses.MISSING
        }
    if isinstance(value, Mapping):
        return {str(name): to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[T], value: Any) -> T:
    """Return a JSON value as a dataclass.

    Raises:
        ValueError: a key is missing or unknown, or a value has another type; the message names it.
    """
    return cast(T, _read(kind, value, ""))


def to_document(value: Any) -> dict[str, Any]:
    """Return a dataclass as JSON values, with the version of the schema."""
    return {"schema": SCHEMA, **to_json(value)}


def from_document(kind: type[T], document: Any, name: str, remedy: str) -> T:
    """Return what `to_document` wrote.

    Args:
        name: what the document is, for the message.
        remedy: what to run where this version cannot read it.

    Raises:
        BadInput: it has another schema version, or is not what this version writes.
    """
    found = document.get("schema") if isinstance(document, Mapping) else None
    if found != SCHEMA:
        version = "no schema version" if found is None else f"schema version {found}"
        raise BadInput(f"{name} has {version}, and this lincorr reads version {SCHEMA}; {remedy}")
    try:
        return from_json(kind, {name: part for name, part in document.items() if name != "schema"})
    except ValueError as problem:
        raise BadInput(f"{name} cannot be read ({problem}); {remedy}") from problem


def _read(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_object(kind, value, path)
    if kind in _SCALARS:
        if isinstance(value, _SCALARS[kind]) and (kind is bool or not isinstance(value, bool)):
            return value
        raise _Mismatch(f"{path} is {type(value).__name__}, not {kind.__name__}")
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        [known] = [part for part in inner if part is not NoneType]
        return None if value is None else _read(known, value, path)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(inner[0], part, f"{path}[{i}]") for i, part in enumerate(value))
    if origin is Mapping and isinstance(value, Mapping):
        return {name: _read(inner[1], part, f"{path}.{name}") for name, part in value.items()}
    raise _Mismatch(f"{path or 'the document'} is {type(value).__name__}, not {kind}")


def _read_object(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _Mismatch(f"{path or 'the document'} is {type(value).__name__}, not an object")
    known = _fields(kind)
    for name in value:
        if name not in known:
            raise _Mismatch(f"{path}.{name} is unknown".lstrip("."))
    parts = {}
    for name, (attribute, inner, required) in known.items():
        where = f"{path}.{name}".lstrip(".")
        if name in value:
            parts[attribute] = _read(inner, value[name], where)
        elif required:
            raise _Mismatch(f"{where} is missing")
    return kind(**parts)


@cache
def _fields(kind: Any) -> dict[str, tuple[str, Any, bool]]:
    """Return JSON key -> attribute, type, and whether it must be there."""
    hints = get_type_hints(kind)
    return {
        field.metadata.get("key", field.name): (
            field.name,
            hints[field.name],
            field.default is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }
