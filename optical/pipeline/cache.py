"""The caches: what is kept there, how large, when it was last of use; and removing what is not wanted any more.

Everything in them can be made again from its inputs. Only what this program wrote is removed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optical.data.document_folder import DATABASE, check_texts, kept_texts
from optical.embeddings.shard import read_shard
from optical.errors import DataError
from optical.files import is_left, remove_known, remove_ours, user_cache
from optical.marker import check_sealed
from optical.models.packaged_teachers import E5_TEACHER

_DIGEST = "[0-9a-f]{16,}"
DOCUMENTS, PAIRS = "documents", "sentence pairs"
TEXTS = "texts of slow files"
LEFT_OVER = "left over"  # of a process that was killed
KINDS = {  # a pattern of names -> its kind; the first group is the fingerprint of the encoder
    rf"documents-({_DIGEST})-{_DIGEST}.*": DOCUMENTS,
    rf"teacher-({_DIGEST})-{_DIGEST}": PAIRS,
    rf"passages-({_DIGEST})-{_DIGEST}-\d+\.json": "passages of documents",
    rf"compute-({_DIGEST})-{_DIGEST}\.json": "choice of search.compute",
    rf"negatives-({_DIGEST})-{_DIGEST}\.json": "mined negatives",
    rf"bm25-{_DIGEST}()": "BM25 index",
    rf"{E5_TEACHER}-.*()": "converted teacher",
}
SHARD = r"shard-\d{5}()"  # in a folder of documents
UNFINISHED = r"\.(.+)\.[0-9a-f]+(?:\.tmp|\.old|)"  # something of that name, while it is written or removed
SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


class Kept(NamedTuple):
    """Something in a cache.

    Attributes:
        path: Of the file or folder.
        kind: Of :data:`KINDS`, ``TEXTS`` or ``LEFT_OVER``.
        encoder: Fingerprint of the encoder whose vectors they are; empty where there is none.
        texts: How many; None where it has none.
        bytes: On disk.
        used: When it was last written or read, in seconds since 1970.
    """

    path: Path
    kind: str
    encoder: str
    texts: int | None
    bytes: int
    used: float


def kept(vectors: Path) -> list[Kept]:
    """Everything of a known name in the folder of vectors and in the user's cache, the last used first."""
    there = {
        path.absolute(): path
        for folder in (user_cache(), vectors)
        for path in (*folder.glob("*"), *folder.glob("documents-*/.shard-*"))
    }
    found = [one for path in there.values() if (one := _kept(path))]
    return sorted(found, key=lambda one: (-one.used, one.path.name))


def _kept(path: Path) -> Kept | None:
    if path.is_symlink():
        return None
    if path.name == DATABASE:
        texts, files = kept_texts(path), _files(path)
        return None if texts is None else Kept(path, TEXTS, "", texts, _bytes(files), max(map(_changed, files)))
    if unfinished := re.fullmatch(UNFINISHED, path.name):
        match = next(filter(None, (re.fullmatch(one, unfinished[1]) for one in (*KINDS, SHARD))), None)
        if match is None or not is_left(path):
            return None
        return Kept(path, LEFT_OVER, match[1], None, _bytes(_files(path)), _changed(path))
    for pattern, kind in KINDS.items():
        if match := re.fullmatch(pattern, path.name):
            return Kept(path, kind, match[1], _count(path), _bytes(_files(path)), _changed(path))
    return None


def _files(path: Path) -> list[Path]:
    """The files of a folder, or a file and, of a database, those that SQLite has beside it."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    beside = [path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm")]
    return [path, *(one for one in beside if one.is_file())]


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _count(path: Path) -> int | None:
    try:
        facts = json.loads((path / "optical.json").read_bytes())
        return facts.get("count", facts.get("texts"))
    except (OSError, ValueError, AttributeError):
        return None


def seconds_of(age: str) -> float:
    """An age such as 12h, 30d or 8w in seconds.

    Raises:
        DataError: It is none.
    """
    if not (match := re.fullmatch(r"(\d+)([hdw])", age.strip())):
        raise DataError(f"an age is a number of hours, days or weeks; got {age!r}; write 12h, 30d or 8w")
    return int(match[1]) * SECONDS[match[2]]


def older_than(entries: Iterable[Kept], age: float) -> list[Kept]:
    """Those that were not used for so many seconds."""
    return [one for one in entries if one.used < time.time() - age]


def superseded(entries: Sequence[Kept]) -> list[Kept]:
    """Embedded documents of which a collection used later has at least half, by the same encoder in one precision.

    Collections that were embedded before there were hashes of texts are not among them.
    """
    latest: dict[str, list[np.ndarray]] = {}
    found = []
    for one in sorted(entries, key=lambda one: -one.used):
        if one.kind != DOCUMENTS or not len(hashes := _hashes(one.path)):
            continue
        others = latest.setdefault(re.sub(rf"-{_DIGEST}(?=-|$)", "", one.path.name) + one.encoder, [])
        if any(np.isin(hashes, other).mean() >= 0.5 for other in others):
            found.append(one)
        else:
            others.append(hashes)
    return found


def _hashes(folder: Path) -> np.ndarray:
    """One half of the hash of each text; empty where they were not kept."""
    try:
        kept = [read_shard(path).documents() for path in sorted(folder.glob("shard-*"))]
    except DataError:
        return np.zeros(0, "<u8")
    return np.concatenate([np.zeros(0, "<u8"), *(one["hash"][:, 0] for one in kept if one is not None)])


def verified(entries: Iterable[Kept]) -> dict[Path, str | None]:
    """Compare all with the checksums that were noted when it was written; what a killed process left has none.

    Returns:
        Its path -> what is wrong and what to do; empty where nothing is, None where no checksum was noted, since it was
        made by a version that noted none.
    """
    found = {}
    for one in entries:
        if one.kind != LEFT_OVER:
            try:
                found[one.path] = "" if _is_sealed(one) else None
            except DataError as error:
                found[one.path] = str(error)
    return found


def _is_sealed(one: Kept) -> bool:
    """Whether checksums were noted of something, with which it agrees.

    Raises:
        DataError: It does not.
    """
    if one.kind == DOCUMENTS:
        shards = [read_shard(shard, verify=True) for shard in sorted(one.path.glob("shard-*"))]
        return bool(shards)
    if one.kind == PAIRS:
        from optical.embeddings.cache import read_vectors  # loads torch

        read_vectors(one.path, verify=True)
        return "files" in json.loads((one.path / "optical.json").read_bytes())
    if one.kind == TEXTS:
        return check_texts(one.path)
    return check_sealed(one.path, f"remove {one.path}: it is made again", full=True)


class Pruned(NamedTuple):
    """Something that was to go.

    Attributes:
        entry: As it was.
        left: Files that stay, since this program did not write them.
    """

    entry: Kept
    left: int


def prune(entries: Iterable[Kept]) -> list[Pruned]:
    """Remove what this program wrote of these."""
    return [Pruned(one, _remove(one)) for one in entries]


def left_over(entries: Iterable[Kept]) -> list[Kept]:
    """Unfinished files and folders of processes that were killed, which nothing reads."""
    return [one for one in entries if one.kind == LEFT_OVER]


def _remove(one: Kept) -> int:
    """Remove an entry; the number of files that stay."""
    if one.kind not in (TEXTS, LEFT_OVER):
        return remove_ours(one.path)
    for path in [one.path] if one.path.is_dir() else _files(one.path):
        remove_known(path)
    return 0
