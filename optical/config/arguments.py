"""Arguments of functions that are called from Python: one of a wrong type is refused by its name, before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from optical.errors import RecipeError


def _is_path(value: Any) -> bool:
    return isinstance(value, str | PathLike) and bool(str(value))


def _is_many(value: Any) -> bool:
    return hasattr(value, "__iter__")


def takes_one(function: Any) -> bool:
    """Whether something can be called with one argument."""
    try:
        inspect.signature(function).bind(None)
    except ValueError:  # one written in C may not tell its arguments
        return callable(function)
    except TypeError:
        return False
    return True


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "path": (_is_path, "a path, as text or pathlib.Path"),
    "text": (lambda value: isinstance(value, str), "a text"),
    "options": (lambda value: isinstance(value, Mapping), 'a mapping of options: {"steps": 200}'),
    "score": (takes_one, "a function that takes an encoder and returns a number, higher is better"),
    "words": (
        lambda value: isinstance(value, PathLike) or (_is_many(value) and not isinstance(value, bytes | Mapping)),
        "a list of words, or the path of a list",
    ),
    "rows": (
        lambda value: _is_many(value) and not isinstance(value, str | bytes | Mapping),
        "a list of rows: query, right passage, wrong passages",
    ),
}


def check_arguments(kind: str, given: Mapping[str, Any], *, required: bool = False) -> None:
    """Refuse arguments that are not of a kind; None stands for no argument.

    Args:
        kind: One of :data:`KINDS`.
        given: Name -> what was given for it.
        required: Refuse None too.

    Raises:
        RecipeError: One is of another kind.
    """
    fits, wanted = KINDS[kind]
    for name, value in given.items():
        if (required or value is not None) and not fits(value):
            raise RecipeError(f"{name} = {repr(value)[:80]} ({type(value).__name__}): give {wanted}")
