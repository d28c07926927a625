"""Which files and folders on disk are ours, by the marker that a folder has; whether files are as they were noted.

Each folder that this program writes into has a hidden file, ``.optical.json``, with the names of what it wrote there.
Whatever is not listed is someone else's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError
from optical.version import __version__

MARKER = ".optical.json"
LOCK = ".optical.lock"  # of the job that is writing a run
_UNFINISHED = ".marker.*.tmp"

# Folders made at commit 71a3547 or earlier have no marker. In a run folder with recipe.toml and a manifest.json of this
# program, and in cache folders of these names, the names below are taken for ours when the folder is first written to.
_MODEL = [
    "modules.json", "config.json", "config_*.json", "generation_config.json", "sentence_*_config.json", "README.md",
    "model*.safetensors", "model.safetensors.index.json", "tokenizer*.json", "special_tokens_map.json", "merges.txt",
    "added_tokens.json", "vocab.txt", "vocab.json", "*.model", "chat_template.jinja", "artifact.metadata",
    "[0-9]_*/config.json", "[0-9]_*/model.safetensors",
]  # fmt: skip
_VECTORS = ["optical.json", "docid", "sentences.npy", "tokens.npy", "start.npy", "scales.npy"]
_LATE = ["scale.npy", "documents.npy", "rotation.npy", "centroids.npy", "list-start.npy", "list-rows.npy"]
_INDEX = ["index", *_VECTORS, *_LATE, "part-???/index", "part-???/docid", "part-???/optical.json"]
_GRAPHS = ["onnx.json", "model.onnx", "model.onnx.data", "model.int8.onnx", "tokenizer.json"]
_RESULTS = ["*.trec", "results.json", "table.md", "perturbed.json", "perturbed.md", "comparison.md"]
_OLD_RUN = {
    "student": _MODEL, "transplant": _MODEL, "teacher": _MODEL, "colbert": _MODEL, "index": _INDEX, "index-*": _INDEX,
    "onnx": [*_GRAPHS, "report.json", "table.md"], "evaluation/*": _RESULTS,
    ".": ["recipe.toml", "training.json", "manifest.json", "lexicon-*.tsv"],
}  # fmt: skip
_DIGEST = "[0-9a-f]" * 16
_OLD_CACHE = {
    f"documents-{_DIGEST}-{_DIGEST}*": _VECTORS,
    f"documents-{_DIGEST}-{_DIGEST}*/shard-?????": _VECTORS,
    f"teacher-{_DIGEST}-{_DIGEST}": _VECTORS,
    f"bm25-{_DIGEST}": ["optical.json", "segments_*", "_*.*", "write.lock"],
}


class Marker(NamedTuple):
    """Contents of a folder's marker.

    Attributes:
        files: Names of what was written there, relative to the folder.
        working: Patterns of names, for a folder that another library writes into; such a name covers all below it.
        seal: Name -> what :func:`noted` says of the file, where that was asked for.
    """

    files: frozenset[str]
    working: tuple[str, ...]
    seal: Mapping[str, Mapping[str, Any]] = {}

    def covers(self, name: str) -> bool:
        """Whether a relative name is of something that this program wrote; that of an empty folder ends with a /."""
        first = name.partition("/")[0]
        if name == MARKER or any(fnmatchcase(first, one) for one in self.working):
            return True
        return name in self.files or (name.endswith("/") and any(one.startswith(name) for one in self.files))

    def having(self, name: str, sealed: Path | None) -> Marker:
        """With one more file, and with a seal of it where there is one to seal under that name.

        Its time is left out: a file that is kept by itself has that of its last use.
        """
        seal = {one: known for one, known in self.seal.items() if one != name}
        if sealed is not None:
            seal[name] = {key: value for key, value in noted(sealed).items() if key != "mtime_ns"}
        return self._replace(files=self.files | {name}, seal=seal)


UNMARKED = Marker(frozenset(), ())


def is_ours(path: Path) -> bool:
    """Whether a single file is listed in the marker of its folder."""
    return not path.is_symlink() and path.is_file() and marker_of(path.parent).covers(path.name)


def covered(folder: Path, name: str) -> bool:
    """Whether a marker of a folder, or of one between it and a file below it, lists that file."""
    file = folder / name
    above = [one for one in file.parents if folder in (one, *one.parents)]
    return any(marker_of(one).covers(file.relative_to(one).as_posix()) for one in above)


def first_not_ours(folder: Path) -> Path | None:
    """The first thing in a folder that this program did not write; the folder itself where it is none, or a link."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return folder
    own = marker_of(folder)
    working: dict[str, Marker] = {}
    for name in entries(folder):
        first, _, below = name.partition("/")
        if below and first not in working:
            marker = read_marker(folder / first) or UNMARKED
            working[first] = marker if marker.working else UNMARKED
        if not own.covers(name) and not (below and working[first].working and working[first].covers(below)):
            return folder / name
    return None


def entries(folder: Path) -> Iterator[str]:
    """Relative names of all files, links and empty folders below a folder; markers are left out."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        own = Path(place).relative_to(folder)
        yield from sorted(
            (own / name).as_posix()
            for name in (*files, *links)
            if name not in (MARKER, LOCK) and not fnmatchcase(name, _UNFINISHED)
        )
        if not (folders or files) and own.parts:
            yield f"{own.as_posix()}/"


def marker_of(folder: Path) -> Marker:
    """Read the marker of a folder; an old folder without one is given its marker first."""
    found = read_marker(folder)
    if found is None and folder.is_dir():
        for run in (folder, *folder.parents[:2]):
            if not (run / MARKER).exists() and _is_old_run(run):
                _adopt(run)
        for pattern, names in _OLD_CACHE.items():
            if folder.match(pattern):
                _adopt_folder(folder, names)
        found = read_marker(folder)
    return found or UNMARKED


def _is_old_run(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "optical" in manifest and (folder / "recipe.toml").is_file()


def _adopt(run: Path) -> None:
    """Give the folders of an old run their markers, that of the run last."""
    for pattern, names in _OLD_RUN.items():
        for folder in [run] if pattern == "." else run.glob(pattern):
            _adopt_folder(folder, names)


def _adopt_folder(folder: Path, patterns: Sequence[str]) -> None:
    if folder.is_dir() and not folder.is_symlink() and not (folder / MARKER).exists():
        ours = [
            name
            for name in entries(folder)
            if any(name.count("/") == one.count("/") and fnmatchcase(name, one) for one in patterns)
        ]
        write_marker(folder, Marker(frozenset(ours), ()))


def read_marker(folder: Path) -> Marker | None:
    """Read the marker of a folder as it is; None without one that this program wrote."""
    try:
        found = json.loads((folder / MARKER).read_bytes())
        made = Marker(frozenset(found.get("files", [])), tuple(found.get("working", [])), {**found.get("seal", {})})
        named = all(isinstance(name, str) for name in (*made.files, *made.working))  # a stranger's holds anything
        if str(found["made_by"]).startswith("optical") and named and all(map(is_note, made.seal.values())):
            return made
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def write_marker(folder: Path, marker: Marker) -> None:
    """Write the marker of a folder whole, in place of the one that is there.

    What killed processes left of one goes; a process that was about to end its own writes it again.
    """
    listed = {"files": sorted(marker.files), "working": list(marker.working), "seal": {**marker.seal}}
    text = json.dumps(
        {"made_by": f"optical {__version__}", **{key: value for key, value in listed.items() if value}}, indent=1
    )
    unfinished = folder / f".marker.{secrets.token_hex(4)}.tmp"  # not the name of an unfinished optical.json
    for left in folder.glob(_UNFINISHED):
        left.unlink(missing_ok=True)
    try:
        while True:
            unfinished.write_text(text + "\n", encoding="utf-8")
            with contextlib.suppress(FileNotFoundError):
                return os.replace(unfinished, folder / MARKER)
    finally:
        unfinished.unlink(missing_ok=True)


def whole_marker(folder: Path, sealed: bool) -> Marker:
    """The marker of a folder that was just written; with a seal of all but the card, which is its owner's to edit.

    A folder below that has a seal of its own keeps it.
    """
    names = list(entries(folder))
    apart = {top for top in {name.partition("/")[0] for name in names if "/" in name} if seal_of(folder / top)}
    wanted = [name for name in names if name.partition("/")[0] not in apart and not name.endswith(("/", "README.md"))]
    seal = {name: noted(folder / name) for name in wanted} if sealed else {}
    return Marker(frozenset(names), (), seal)


def seal_of(path: Path) -> dict[Path, Mapping[str, Any]]:
    """File -> what was noted of it when a folder, or a single file, was written; empty for what has no seal."""
    folder, single = (path, None) if path.is_dir() else (path.parent, path.name)
    marker = read_marker(folder) or UNMARKED
    return {folder / name: note for name, note in marker.seal.items() if single in (None, name)}


def check_sealed(path: Path, remedy: str, *, full: bool = False) -> bool:
    """Refuse a folder or a file that has a seal and is not as it was written; see :func:`changed`.

    Returns:
        Whether it has a seal; what was written before there were some is taken as it is.

    Raises:
        DataError: The first file that is another; it ends with the remedy.
    """
    seal = seal_of(path)
    for file, note in seal.items():
        if problem := changed(file, note, full=full):
            raise DataError(f"{file} {problem}; {remedy}")
    return bool(seal)


def checksum(texts: Iterable[str]) -> str:
    """SHA-256 of texts in their order, its first 16 hexadecimal digits; ``["ab"]`` and ``["a", "b"]`` differ."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]


def file_checksum(path: Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(file: Path) -> dict[str, Any]:
    """Note size, checksum and time of a file, by which :func:`changed` tells whether it is still the same."""
    return {"bytes": file.stat().st_size, "sha256": file_checksum(file), "mtime_ns": file.stat().st_mtime_ns}


def is_note(value: Any) -> bool:
    """Whether something that was read is a note of a file; older notes of shards have no time."""
    numbers = isinstance(value, dict) and [value.get("bytes"), value.get("mtime_ns", 0)]
    return bool(numbers) and all(isinstance(one, int) for one in numbers) and isinstance(value.get("sha256"), str)


def changed(file: Path, note: Mapping[str, Any], *, full: bool = False) -> str | None:
    """Say how a file differs from what was noted of it; None where it does not.

    The checksum is taken where the file has another time than was noted, as a copy has, or always with ``full``. A file
    that has not changed is given the noted time again, so that this is done once.
    """
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            return "is not a file"
        if facts.st_size != note["bytes"]:
            return f"has {facts.st_size:,} bytes, not the {note['bytes']:,} that were written"
        time = note.get("mtime_ns", facts.st_mtime_ns)  # older notes of shards have none
        if not full and facts.st_mtime_ns == time:
            return None
        identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if (file_checksum(file) if full else _checksum_once(file, identity)) != note["sha256"]:
            return "does not have the checksum that was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    with contextlib.suppress(OSError, OverflowError):  # of somebody else, or on a disk that is read only
        os.utime(file, ns=(facts.st_atime_ns, time))
    return None


@functools.lru_cache(maxsize=10_000)
def _checksum_once(file: Path, _: tuple[int, ...]) -> str:
    """Of a file whose time cannot be set: manifest and seal both ask, and each time that it is opened."""
    return file_checksum(file)
