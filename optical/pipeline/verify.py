"""Tell whether the files of a run are those that were written.

The manifest holds size, checksum and time of each file that a job wrote, and a checksum of itself. Before files are
read, their sizes are compared, and the checksums of those whose time is another; :func:`verify_run` takes all
checksums. Runs made before this was noted are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError
from optical.files import strict_json, write_text
from optical.marker import MARKER, changed, checksum, is_note, noted

MANIFEST = "manifest.json"
FILES, SEAL = "files", "checksum"  # of the manifest
CARD = "student/README.md"  # which its owner may edit
REMEDIES = {  # what writes a part anew; all else the whole chain
    "index": "run `optical index {run}`",
    "index-*": "run `optical index {run}`",
    "evaluation": "run `optical evaluate {run}`",
    "report.html": "run `optical report {run}`",
    "onnx": "run `optical export {run}`",
    "colbert": "run `optical export {run} --to colbert`",
    "router": "run `optical export {run} --to router`",
    "mteb": "run `optical mteb {run}`",
    "comparison.html": "run `optical report` again",
    "teacher": "run the same `optical teach` again, or copy the folder again",
}
EXPORTS = ("onnx", "colbert", "router", "mteb")
AGAIN = "run the same `optical distill` again, or copy the folder again"


class Damage(NamedTuple):
    """A file that is not as it was written.

    Attributes:
        path: Of the file.
        problem: In words.
        remedy: What to do.
    """

    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.path} {self.problem}; {self.remedy}"


def read_manifest(run: Path) -> dict[str, Any]:
    """Read the manifest of a run.

    Raises:
        DataError: It is missing, damaged or changed.
    """
    file = run / MANIFEST
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        again = REMEDIES["teacher"] if (run / "teacher").is_dir() else AGAIN
        raise DataError(f"{file} cannot be read ({error.strerror}); {again}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}); {AGAIN}") from error
    if not isinstance(made, dict) or made.get(SEAL, _seal(made)) != _seal(made):
        raise DataError(f"{file} was changed after it was written: its checksum is of something else; {AGAIN}")
    notes = made.get(FILES, {})  # of a stranger's run, names of anything
    if not isinstance(notes, dict) or not all(_is_inside(name) and is_note(note) for name, note in notes.items()):
        raise DataError(f"{file} is not what optical writes: its {FILES} are no names and notes; {AGAIN}")
    return made


def _is_inside(name: str) -> bool:
    return not {"", ".."} & {*name.split("/")} and "\0" not in name


def threads_noted(run: Path) -> int | None:
    """Threads that a run was made with; None where its manifest does not say."""
    return read_manifest(run).get("threads")


def sealed(made: dict[str, Any]) -> str:
    """The text of a manifest, with a checksum of itself."""
    plain = json.loads(strict_json(made))  # without NaN
    return strict_json({**plain, SEAL: _seal(plain)})


def _seal(made: dict[str, Any]) -> str:
    return checksum([json.dumps({name: one for name, one in made.items() if name != SEAL}, sort_keys=True)])


def note_files(run: Path, new: Iterable[str]) -> None:
    """Bring the manifest of a run up to date with files that were just written, and with those that are gone."""
    if not (run / MANIFEST).is_file():
        return
    made = read_manifest(run)
    known = {name: note for name, note in made.get(FILES, {}).items() if (run / name).is_file()}
    known |= {name: noted(run / name) for name in new if name != MANIFEST and Path(name).name != MARKER}
    write_text(run / MANIFEST, sealed({**made, FILES: dict(sorted(known.items()))}))


def check_files(run: Path, parts: Iterable[str]) -> None:
    """Refuse to read parts of a run that are not as they were written: sizes, and checksums where the time is another.

    Args:
        run: Its folder.
        parts: Patterns of names at its top, or of single files.

    Raises:
        DataError: The first such file, and what to do.
    """
    for damage in _damages(run, read_manifest(run), list(parts), full=False):
        raise DataError(str(damage))


def verify_run(run: Path) -> tuple[int, list[Damage]]:
    """Compare every file of a run with what was noted of it, by checksums.

    Returns:
        How many files are noted, and those that are not as they were written.

    Raises:
        DataError: The manifest itself is missing, damaged or changed, or of a run made before files were noted.
    """
    made = read_manifest(run)
    if FILES not in made:
        raise DataError(
            f"{run / MANIFEST} has no checksums: the run was made before they were noted; `optical index` and "
            "`optical evaluate` note those of what they write, `optical distill` all"
        )
    found = list(_damages(run, made, ["*"], full=True))
    for name in EXPORTS:  # which a new student leaves as they are
        if (run / name).is_dir() and not any(one.startswith(f"{name}/") for one in made[FILES]):
            found.append(Damage(run / name, "is of an earlier student", REMEDIES[name].format(run=run)))
    return len(made[FILES]) + 1, found


def _damages(run: Path, made: dict[str, Any], parts: list[str], *, full: bool) -> Iterator[Damage]:
    for name, note in made.get(FILES, {}).items():
        top = name.partition("/")[0]
        if any(fnmatchcase(top, part) or fnmatchcase(name, part) for part in parts):
            problem = changed(run / name, note, full=full)
            if problem and not (name == CARD and (run / name).is_file()):
                remedy = next((text for part, text in REMEDIES.items() if fnmatchcase(top, part)), AGAIN)
                if name == "recipe.toml":
                    remedy = "put it back, or give what is changed by --set, or with the same `optical distill` again"
                yield Damage(run / name, problem, remedy.format(run=run))
