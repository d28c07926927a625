"""One broken or hostile input, what is done with it, and what must happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 10  # of one input, at most
BYTES = 10**9  # of address space above what the process has before it


class Refused(NamedTuple):
    """What must happen: a DataError or RecipeError whose message matches."""

    pattern: str = "."


class Reads(NamedTuple):
    """What must happen: this value is read."""

    value: Any


class Case(NamedTuple):
    """An input.

    Attributes:
        kind: Of the fault: encoding, nesting, ids, ...
        name: Unique in its kind.
        make: Writes it into an empty folder and returns a function that reads it.
        must: What must happen.
        slow: Takes seconds even where all is well; left to `make test-all`.
    """

    kind: str
    name: str
    make: Callable[[Path], Callable[[], Any]]
    must: Refused | Reads
    slow: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def written(file: Path, data: bytes | str) -> Path:
    """A file, its folders made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    return file
