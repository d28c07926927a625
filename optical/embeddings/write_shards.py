"""Write a stream of documents as shards: one at a time, resumed after any stop, shared by processes and machines.

Each rank encodes every world-th shard. All ranks read the whole stream, so that each knows the texts of every shard.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from optical.embeddings.ranks import ALONE, Ranks
from optical.embeddings.shard import (
    DOCID,
    FORMAT,
    MANIFEST,
    Batch,
    Precision,
    Shard,
    Stored,
    gather,
    hashes_of,
    read_shard,
    write_shard,
)
from optical.embeddings.shards import Shards, read_shards
from optical.errors import DataError
from optical.files import check_writable, checksum, file_written_whole
from optical.models.reading import Reading, together

Document: TypeAlias = tuple[str, str]
Encode: TypeAlias = Callable[[list[str]], Iterable[Batch | Stored]]

LOOK_EVERY = 0.5  # seconds between two looks for the shards of other ranks
HASHES_AT_ONCE = 2**25  # 8 bytes each: bounds the memory of the search for repeated ids
_SAME = ("kind", "precision", "compute", "encoder", "shard_size")  # must be equal in all shards of a folder


class ShardPlan(NamedTuple):
    """Plan that all shards of a folder have in common.

    Attributes:
        encoder: Fingerprint of the encoder, of its document side.
        kind: ``"sentences"`` or ``"tokens"``.
        precision: Of the stored vectors.
        shard_size: Documents read for one shard, empty ones counted.
        keep_empty: Encode a document without text as the tokenizer's empty sequence; otherwise it is left out.
        compute: Precision of the encoder's matrix products.
        agreement: Cosine of some vectors with those computed in float32; None where ``compute`` is float32.
    """

    encoder: str
    kind: str
    precision: Precision
    shard_size: int
    keep_empty: bool = False
    compute: str = "float32"
    agreement: Mapping[str, float] | None = None

    def facts(self) -> dict[str, Any]:
        """Return the entries of this plan in the manifest of a shard, by which shards of other plans are known."""
        return {key: getattr(self, key) for key in _SAME}


class _Chunk(NamedTuple):
    number: int
    first: int  # position of its first document in the stream, from 1
    ids: list[str]
    texts: list[str]
    empty: list[str]  # ids
    checksum: str
    last: bool

    @property
    def name(self) -> str:
        return f"shard-{self.number:05d}"


def make_shards(
    documents: Iterable[Document],
    folder: Path,
    encode: Encode,
    plan: ShardPlan,
    *,
    ranks: Ranks = ALONE,
    replace: bool = False,
    done: Callable[[int], object] = lambda documents: None,
) -> Shards:
    """Write the shards that are missing and, once all are there, the collection's manifest.

    Args:
        documents: ``(id, text)``; read once.
        folder: Of the shards.
        encode: Texts of one shard -> batches of row numbers and vectors.
        plan: What all shards have in common.
        ranks: This process among those that share the work.
        replace: Make a shard anew whose texts have changed, instead of refusing.
        done: Told how many documents are done, as they are encoded; of a shard that is not made here, all at once.

    Raises:
        DataError: No document, a bad or repeated id, a folder of something else, a full disk, or other ranks that do
            not finish.
    """
    rank, world, wait = ranks
    check_writable(folder, [MANIFEST], ["shard-*"])
    folder.mkdir(parents=True, exist_ok=True)
    chunks: list[tuple[str, str]] = []
    for chunk in _chunks(documents, plan):
        if not _is_there(folder, chunk, plan, replace) and chunk.number % world == rank:
            _write(folder, chunk, lambda texts: _told(encode(texts), done), plan)
        else:
            done(len(chunk.ids))
        chunks.append((chunk.name, chunk.checksum))
    _refuse_others(folder, [name for name, _ in chunks])
    _wait_for(folder, chunks, ranks)
    if rank == 0:
        return finish(folder)
    _wait(lambda: _finished(folder, chunks), f"{folder / MANIFEST} of rank 0 of {world}", wait)
    return read_shards(folder)


def finish(folder: str | Path) -> Shards:
    """Write the manifest of a folder whose shards are all there, wherever they were made.

    Machines without a common disk each make their shards as one rank of several, on the same documents; the shards are
    then copied into one folder. This checks that they belong together, that none is missing and that no id is in two.

    Raises:
        DataError: No shard, a missing or damaged one, shards of different encoders, precisions or sizes, an id in two.
    """
    folder = Path(folder)
    names = sorted(path.name for path in folder.glob("shard-*"))
    parts = [read_shard(folder / name) for name in names]
    if not parts:
        raise DataError(f"{folder} holds no shard; embed the collection first, or copy its shards here")
    _check_row_of_shards(folder, parts)
    manifest = _manifest(parts)
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    if not (folder / MANIFEST).is_file() or (folder / MANIFEST).read_text(encoding="utf-8") != text:
        _refuse_repeated(parts)
        try:
            with file_written_whole(folder / MANIFEST) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(_full(folder, error)) from error
    return Shards(folder, manifest, parts)


def _chunks(documents: Iterable[Document], plan: ShardPlan) -> Iterator[_Chunk]:
    """Documents of one shard at a time; one document is read ahead, to know which shard is the last."""
    stream = enumerate(documents, start=1)
    ahead = next(stream, None)
    if ahead is None:
        raise DataError(
            "there is no document to embed; got an empty stream, or an iterator that was read before; check the file, "
            "or give a fresh iterator"
        )
    number = 0
    while ahead is not None:
        read: list[tuple[int, Document]] = []
        while ahead is not None and len(read) < plan.shard_size:
            read.append(ahead)
            ahead = next(stream, None)
        yield _chunk(number, read, ahead is None, plan)
        number += 1


def _chunk(number: int, read: Sequence[tuple[int, Document]], last: bool, plan: ShardPlan) -> _Chunk:
    seen: dict[str, int] = {}
    for position, (doc_id, _) in read:
        if doc_id.split() != [doc_id]:
            raise DataError(
                f"a document id must be one word; got {doc_id!r} at document {position}; rename the document"
            )
        if doc_id in seen:
            raise DataError(
                f"document id {doc_id!r} is used twice, by documents {seen[doc_id]} and {position}; remove or rename "
                "one of them"
            )
        seen[doc_id] = position
    kept = [(doc_id, text) for _, (doc_id, text) in read if plan.keep_empty or text.strip()]
    empty = [doc_id for _, (doc_id, text) in read if not text.strip()]
    texts = checksum(part for _, document in read for part in document)
    ids = [doc_id for doc_id, _ in kept]
    return _Chunk(number, read[0][0], ids, [text for _, text in kept], empty, texts, last)


def _is_there(folder: Path, chunk: _Chunk, plan: ShardPlan, replace: bool) -> bool:
    """Whether a shard is there, whole and of these texts; one of other texts or another plan is refused."""
    try:
        manifest = read_shard(folder / chunk.name).manifest
    except DataError:
        return False  # missing or damaged: it is made anew
    for key, wanted in plan.facts().items():
        if manifest.get(key) != wanted:
            raise DataError(
                f"{folder / chunk.name} has another {key.replace('_', ' ')}: {manifest.get(key)!r}, wanted is "
                f"{wanted!r}; embed into a new folder, or as this one was embedded"
            )
    if (manifest["texts"], manifest.get("last")) == (chunk.checksum, chunk.last):
        return True
    if not replace:
        raise DataError(
            f"{folder / chunk.name} is of other documents than number {chunk.first} and those after it now; embed "
            "into a new folder, or allow that changed shards are replaced"
        )
    (folder / MANIFEST).unlink(missing_ok=True)  # what it lists is no longer all there
    return False


def _write(folder: Path, chunk: _Chunk, encode: Encode, plan: ShardPlan) -> None:
    if not chunk.ids:
        raise DataError(
            f"none of the documents {chunk.first} to {chunk.first + len(chunk.empty) - 1} has any text; remove them"
        )
    facts = {
        **plan.facts(),
        "first": chunk.first,
        "texts": chunk.checksum,
        "last": chunk.last,
        "empty": len(chunk.empty),
        "empty_ids": chunk.empty[:5],
        **({"agreement": plan.agreement} if plan.agreement else {}),
    }
    held = gather(encode(chunk.texts), chunk.ids, plan.precision, tokens=plan.kind == "tokens")
    held.documents["hash"] = hashes_of(chunk.texts)
    try:
        write_shard(folder / chunk.name, chunk.ids, held, facts)
    except OSError as error:
        raise DataError(_full(folder / chunk.name, error)) from error


def _told(batches: Iterable[Batch | Stored], done: Callable[[int], object]) -> Iterator[Batch | Stored]:
    for batch in batches:
        yield batch
        done(len(batch.rows))


def _full(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written: {error.strerror or error}; free some space and embed again: the shards that are "
        "there are kept"
    )


def _refuse_others(folder: Path, names: Sequence[str]) -> None:
    others = sorted({path.name for path in folder.glob("shard-*")} - set(names))
    if others:
        raise DataError(
            f"{folder / others[0]} is not of this collection, which has {len(names)} shards; remove it, or embed into "
            "a new folder"
        )


def _wait_for(folder: Path, chunks: Sequence[tuple[str, str]], ranks: Ranks) -> None:
    """Wait for the shards of other ranks, one after another; the waiting time starts anew with each."""
    rank, world, wait = ranks
    for number, (name, texts) in enumerate(chunks):
        if number % world != rank:
            _wait(
                lambda name=name, texts=texts: _texts(folder / name) == texts,
                f"{folder / name} of rank {number % world} of {world}",
                wait,
            )


def _texts(folder: Path) -> str | None:
    try:
        return read_shard(folder).manifest["texts"]
    except DataError:
        return None


def _finished(folder: Path, chunks: Sequence[tuple[str, str]]) -> bool:
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["shards"]
        return [(part["name"], part["texts"]) for part in listed] == list(chunks)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _wait(there: Callable[[], bool], what: str, seconds: float) -> None:
    last = time.monotonic() + seconds
    while not there():
        if time.monotonic() > last:
            raise DataError(
                f"waited {seconds:.0f} s for {what}, and it did not come; see whether that process still runs and "
                "writes to the same disk, then start all ranks again: the shards that are there are kept"
            )
        time.sleep(LOOK_EVERY)


def _check_row_of_shards(folder: Path, parts: Sequence[Shard]) -> None:
    """Refuse shards that are not numbered 0, 1, 2, ... up to the one marked as the last, or differ in their facts."""
    for number, part in enumerate(parts):
        name = f"shard-{number:05d}"
        if part.folder.name != name:
            raise DataError(f"{folder / name} is missing; copy it here, or embed the collection again")
        for key in (*_SAME, "dimension"):
            if part.manifest.get(key) != parts[0].manifest.get(key):
                raise DataError(
                    f"{part.folder} has another {key.replace('_', ' ')} than {parts[0].folder.name}: "
                    f"{part.manifest.get(key)!r} and {parts[0].manifest.get(key)!r}; embed it as the others were"
                )
        if part.manifest.get("first") != number * part.manifest["shard_size"] + 1:
            raise DataError(f"{part.folder} does not begin where {name} must; embed it again, into this folder")
        if part.manifest.get("last") != (number == len(parts) - 1):
            what = (
                "is the last of its collection, but others follow" if part.manifest.get("last") else "is not the last"
            )
            raise DataError(f"{part.folder} {what}; copy the shards that are missing, or embed the collection again")


def _manifest(parts: Sequence[Shard]) -> dict[str, Any]:
    facts = [part.manifest for part in parts]
    rows = sum(fact["rows"] for fact in facts)
    return {
        "format": FORMAT,
        **{key: facts[0][key] for key in (*_SAME, "dimension")},
        "count": sum(fact["count"] for fact in facts),
        "rows": rows,
        "empty": sum(fact["empty"] for fact in facts),
        "copied": sum(fact.get("copied", 0) for fact in facts),
        "texts": checksum(fact["texts"] for fact in facts),
        "cosine": {
            "min": min(fact["cosine"]["min"] for fact in facts),
            "mean": sum(fact["cosine"]["mean"] * fact["rows"] for fact in facts) / max(1, rows),
        },
        **({"agreement": facts[0]["agreement"]} if "agreement" in facts[0] else {}),
        # Shards made before it was counted do not say.
        **({"reading": together(Reading(**fact["reading"]) for fact in facts)._asdict()}
           if all("reading" in fact for fact in facts) else {}),
        "shards": [{"name": part.folder.name, "count": part.manifest["count"], "texts": part.manifest["texts"]}
                   for part in parts],
    }  # fmt: skip


def _refuse_repeated(parts: Sequence[Shard]) -> None:
    """Refuse an id that two shards share. Hashes are compared, of large collections in several passes."""
    if len(parts) == 1:
        return
    total = sum(part.manifest["count"] for part in parts)
    passes = -(-total // HASHES_AT_ONCE)
    for some in range(passes):
        hashes = np.concatenate([_hashes(part, some, passes) for part in parts])
        hashes.sort()
        if twice := set(hashes[1:][hashes[1:] == hashes[:-1]].tolist()):
            _name_repeated(parts, twice)


def _hashes(part: Shard, some: int, passes: int) -> np.ndarray:
    own = np.fromiter(map(hash, part.ids()), dtype=np.int64, count=part.manifest["count"])
    return own if passes == 1 else own[own % passes == some]


def _name_repeated(parts: Sequence[Shard], hashes: set[int]) -> None:
    """Raise if the ids themselves, not only their hashes, are equal."""
    seen: dict[str, str] = {}
    for part in parts:
        for line, doc_id in enumerate(part.ids(), start=1):
            if hash(doc_id) in hashes:
                place = f"{part.folder / DOCID}:{line}"
                if doc_id in seen:
                    raise DataError(
                        f"document id {doc_id!r} is used twice, at {seen[doc_id]} and {place}; remove or rename one of "
                        "them and embed again: only what changed is made anew where replacing is allowed"
                    )
                seen[doc_id] = place
