"""One YAML file and flags of the same names -> the configuration of a run, or one line on what is wrong."""

import copy
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lincorr.errors import BadInput
from lincorr.paths import as_meant
from lincorr.strict import load_strict
from lincorr.text import read_text
from pipeline.config.contradictions import refuse_contradictions
from pipeline.config.flags import forms, settings
from pipeline.config.remembered import task_of
from pipeline.config.sections import LISTS_OF_PATHS, PATHS, RunConfig, words

_FORMS = {
    "INTEGER": "a whole number",
    "NUMBER": "a number",
    "TEXT": "text, numbers in quotes",
    "PATH": "a path",
}
_BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
_IN_SHORT = {"model": "source", "store": "path"}  # `store: X` for `store: {path: X}`


def load_config(
    path: Path | None, overrides: Mapping[str, str], remembered: Mapping[str, Any] | None = None
) -> RunConfig:
    """Read a YAML file and override it by flags.

    Args:
        remembered: settings of a store, to start from if there is no file; only its task counts.
        overrides: dotted setting -> value as text; "null" resets it to the default.

    Raises:
        BadInput: the file cannot be read, or a setting is unknown, missing or wrong.
    """
    values = {} if path is None else _given(_read_yaml(path))
    if "templates" in values or isinstance(values.get("relations"), dict):
        raise BadInput(f"configuration: {path} is a catalogue of relations; give it with --catalogue")
    for name, leaf in _IN_SHORT.items():
        if isinstance(values.get(name), str):
            values[name] = {leaf: values[name]}
    _override(values, overrides)
    _expand_paths(values)
    if path is None:
        task = copy.deepcopy(task_of(remembered or {}))
        if "subjects.kind" in overrides:  # settings of another kind do not go with it
            task.get("subjects", {}).clear()
        if "model.source" in overrides:  # the same model in another place
            task.get("model", {}).pop("revision", None)
        values = _merged(task, values)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as problem:
        raise BadInput(_first_error(problem, path, overrides)) from None
    refuse_contradictions(config)
    return config


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a file without those that are null, which have their defaults."""
    given = {name: value for name, value in values.items() if value is not None}
    return {name: _given(value) if isinstance(value, dict) else value for name, value in given.items()}


def _override(values: dict[str, Any], overrides: Mapping[str, str]) -> None:
    defaults = settings()
    for setting, text in overrides.items():
        section_name, _, leaf = setting.rpartition(".")
        target = values.setdefault(section_name, {}) if section_name else values
        if not isinstance(target, dict):
            raise BadInput(
                f"{section_name}: {target!r} is not a section; write `{section_name}:` and its settings below"
            )
        value = _flag_value(text)
        target[leaf] = defaults[setting][1] if value is None and setting in defaults else value
    if isinstance(values.get("model"), dict):
        values["model"] = _given(values["model"])  # a model of no name is none


def _expand_paths(values: dict[str, Any]) -> None:
    """Expand ``~`` and variables in the user's own paths; not in those that a store remembers."""
    for setting in PATHS:
        section_name, _, leaf = setting.rpartition(".")
        section = values.get(section_name) if section_name else values
        if not isinstance(section, dict) or leaf not in section:
            continue
        value = words(section[leaf]) if setting in LISTS_OF_PATHS else section[leaf]
        if isinstance(value, str):
            section[leaf] = as_meant(value, setting)
        elif isinstance(value, list):
            section[leaf] = [as_meant(path, setting) if isinstance(path, str) else path for path in value]


def _merged(first: dict[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of both, in sections; of one that both have, the second's."""
    for name, value in second.items():
        known = first.get(name)
        first[name] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
    return first


def _flag_value(text: str) -> Any:
    """Read null and lists as YAML; leave all else as text, so that 2024 may be a name."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    return value if value is None or isinstance(value, list) else text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = load_strict(read_text(path))
    except BadInput as problem:
        raise BadInput(f"configuration: {problem}") from None
    except yaml.YAMLError as problem:
        where = getattr(problem, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        what = getattr(problem, "problem", None) or "it cannot be parsed"
        raise BadInput(f"configuration: {path}{line} is not valid YAML: {what}") from None
    except (ValueError, RecursionError) as problem:  # such as the date 2026-13-01
        raise BadInput(f"configuration: {path} is not valid YAML ({problem})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadInput(f"configuration: {path} must hold settings, such as `model: folder`")
    return values


def _first_error(problem: ValidationError, path: Path | None, overrides: Mapping[str, str]) -> str:
    errors = problem.errors()
    error = next((error for error in errors if error["type"] != "missing"), None)  # a model may be misspelt
    if error is None:
        return "model: no model is given; name a store or a file with model: in it, or give --model"
    parts = [str(part) for part in error["loc"] if isinstance(part, str)]
    known = settings()
    name = next(
        (".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known),
        ".".join(parts),
    )
    where = f"{path}: " if path and name not in overrides else ""
    value = error["input"]
    if error["type"] == "extra_forbidden":
        unknown = ".".join(parts)
        shown = unknown if unknown.isprintable() else repr(unknown)
        return f"{where}{shown}: there is no such setting{_hint(unknown, known)}"
    if error["type"] == "model_type":
        return f"{where}{name}: {value!r} is not a section; write `{name}:` and its settings below"
    if error["type"] == "string_pattern_mismatch":
        return f"{where}{name}: {value!r} is refused: it is one of {known[name][0].rstrip('.')}"
    if name not in known:  # a key that is no text
        return f"{where}{name}: {value!r} is refused: {error['msg'].lower()}"
    bounds = [_BOUNDS[kind].format(it) for kind, it in error.get("ctx", {}).items() if kind in _BOUNDS]
    wanted = bounds[0].removesuffix(".0") if bounds else _in_words(forms()[name])
    return f"{where}{name}: {value!r} is refused; write {wanted}"


def _in_words(form: str) -> str:
    """What a flag's form asks for: "INTEGER|all" is "a whole number or all"."""
    *others, last = (_FORMS.get(part, part) for part in form.removesuffix(",...").split("|"))
    one = f"{', '.join(others)} or {last}" if others else last
    return f"{one}, or a list" if form.endswith(",...") else one


def _hint(unknown: str, known: Mapping[str, Any]) -> str:
    if unknown in known:  # only the flags have dots
        section_name, _, leaf = unknown.rpartition(".")
        return f"; write `{section_name}:`, and `{leaf}:` indented below it"
    near = difflib.get_close_matches(unknown.lower(), [*known, *RunConfig.model_fields], n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else "; see docs/configuration.md"
