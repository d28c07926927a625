"""Options of any pydantic model: read from TOML and the command line, written as TOML, described for help texts.

An unknown option is refused with the nearest known name, a wrong value with ``path:line`` and what the option means.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from optical.errors import DataError, RecipeError
from optical.limits import check_depth, read_whole

LONGEST = 2**20  # bytes of a recipe
Options = TypeVar("Options", bound=BaseModel)


def load_options(
    model: type[Options], path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Options:
    """Read options from a file and change single ones.

    Args:
        model: What is read.
        path: A TOML file, or None for the defaults.
        overrides: Dotted names to values. Text is read as TOML where it can be, unless the option is a text itself.

    Raises:
        RecipeError: Not readable, not TOML, an unknown option (the nearest known one is named), a wrong type or range.
    """
    values = _read(Path(path)) if path is not None else {}
    for name, value in (overrides or {}).items():
        section, _, key = name.rpartition(".")
        target = values.setdefault(section, {}) if section else values
        if not isinstance(target, dict):
            raise RecipeError(f"{name}: {section} is an option, not a section; {_nearest(name, model)}")
        target[key] = _parse(value, name, model)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error, path, overrides or {}, model)) from error


def write_options(value: BaseModel) -> str:
    """The options as TOML, every one spelled out; reading it gives the same again."""
    plain = value.model_dump(exclude_none=True)
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for section, options in plain.items():
        if isinstance(options, dict) and options:
            lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in options.items())]
    return "\n".join(lines) + "\n"


def describe(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Every option's dotted name -> its description and, in parentheses, its default as one would give it.

    What happens where an option without a default is left out is said by the end of its description, "; default ...".
    """
    found = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= describe(field.annotation, f"{prefix}{name}.")
        elif field.is_required():
            found[f"{prefix}{name}"] = f"{field.description} (required)"
        elif field.default is None:
            found[f"{prefix}{name}"] = re.sub(r"; (default .+)$", r" (\1)", field.description or "")
        else:
            value = field.default if isinstance(field.default, str) else _toml(field.default)
            found[f"{prefix}{name}"] = f"{field.description} (default {value})"
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(read_whole(path, LONGEST).decode())
        check_depth(values)
    except DataError as error:
        raise RecipeError(f"the recipe cannot be read: {error}; give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 (byte {error.start}); save the recipe as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not TOML: {error}; strings need quotes, sections square brackets") from error
    return values


def _parse(value: Any, name: str, whole: type[BaseModel]) -> Any:
    if not isinstance(value, str):
        return value
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return value
    section, _, key = name.rpartition(".")
    model: Any = whole.model_fields[section].annotation if section in whole.model_fields else whole
    field = getattr(model, "model_fields", {}).get(key)
    is_text = field is not None and (field.annotation is str or _kinds(field.annotation) == {str, type(None)})
    return value if is_text and not isinstance(read, str) else read


def _kinds(annotation: Any) -> set[Any]:
    """The members of a union, without the checks that are attached to them."""
    return {getattr(one, "__origin__", one) for one in get_args(annotation)}


def _explain(
    error: ValidationError, path: str | Path | None, overrides: Mapping[str, Any], model: type[BaseModel]
) -> str:
    """The first fault: where, which option, what is wrong, what to write."""
    fault = error.errors()[0]
    # Pydantic adds the member of a union (float, tuple) to the path; names of options alone remain.
    known = set(describe(model)) | set(model.model_fields)
    parts = [str(part) for part in fault["loc"]]
    name = ".".join(parts)
    while name not in known and fault["type"] != "extra_forbidden" and len(parts) > 1:
        parts = parts[:-1]
        name = ".".join(parts)
    where = _line(path, parts) if path is not None and parts else str(path or "recipe")
    if path is not None and name in overrides:
        where = f"given beside {path}"
    if fault["type"] == "value_error" and name not in describe(model):  # a contradiction between several options
        return f"{where}: {name + ': ' if name else ''}{fault['msg'].removeprefix('Value error, ')}"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown option {name}; {_nearest(name, model)}"
    if fault["type"] == "missing":
        text = model.model_fields[name].description
        return f"{where}: {name} is missing; give --{name}, or {name} = ... in a recipe: {text}"
    wrong = fault["msg"].removeprefix("Value error, ")
    return (
        f"{where}: {name} = {repr(fault['input'])[:200]}: {wrong}; {describe(model).get(name, 'a section of options')}"
    )


def _nearest(name: str, model: type[BaseModel]) -> str:
    known = list(describe(model))
    by_key = {option.rpartition(".")[2]: option for option in known}
    match = difflib.get_close_matches(name, known, 1, 0.6)
    if not match:
        match = [by_key[k] for k in difflib.get_close_matches(name.rpartition(".")[2], by_key, 1, 0.6)]
    return f"did you mean {match[0]}?" if match else f"known options: {', '.join(known)}"


def _line(path: str | Path, parts: list[str]) -> str:
    """``path:line`` of an option, found again in the text, since tomllib keeps no places."""
    section, key = ".".join(parts[:-1]), parts[-1]
    current = ""
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = header[1].strip()
        if current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return f"{path}:{number}"
    return str(path)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
