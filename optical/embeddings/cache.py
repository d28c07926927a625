"""The cache: vectors of the bitext (for learning) and of collections (for searching), made once and found again.

A folder is named by the encoder and the texts, so that a second run, a second student or a second experiment reads what
the first one wrote. Of a collection that has changed, only the documents that no earlier folder has are encoded.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from optical.embeddings.embed import DEFAULTS, EmbedOptions, embed_collection, new_texts
from optical.embeddings.ranks import ALONE
from optical.embeddings.shard import MANIFEST, SENTENCES, START, TOKENS
from optical.embeddings.shards import Shards, read_shards
from optical.embeddings.vectors import Vectors, sharded_vectors
from optical.embeddings.write_shards import Document
from optical.errors import DataError
from optical.files import checksum, mark_used, written_whole
from optical.marker import changed, noted
from optical.models.encoders import Encoder, encode_batch, fingerprint
from optical.models.prompts import query_prompt
from optical.models.reading import Reading, reading
from optical.progress import bar


def teacher_vectors(
    teacher: Encoder, texts: Sequence[str], cache: Path, *, batch_size: int = 64, progress: bool = False
) -> Vectors:
    """The teacher's vectors of the English side of the bitext, read as queries: every token and every sentence.

    Written below ``cache`` in a folder named by teacher and texts, as float16 tokens (2 d bytes each: some 20 kB for a
    sentence of 25 tokens and d = 384); only read when it is there.

    Raises:
        DataError: What is there is damaged.
    """
    folder = cached_texts(teacher, texts, cache)
    if not (folder / MANIFEST).is_file():
        with written_whole(folder) as unfinished:
            _write(unfinished, *_encoded(teacher, texts, batch_size, progress))
    mark_used(folder)
    return read_vectors(folder)


def cached_texts(teacher: Encoder, texts: Sequence[str], cache: Path) -> Path:
    """The folder of :func:`teacher_vectors`, which may not be there yet; its manifest is written last."""
    return cache / f"teacher-{fingerprint(teacher, 'query')}-{checksum(texts)}"


def document_vectors(
    encoder: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    cache: Path,
    options: EmbedOptions = DEFAULTS,
    *,
    progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Vectors:
    """An encoder's vectors of documents: sentence vectors, or the scoring tokens of a late-interaction model.

    Row i is of ``ids[i]``, whatever its text: one without any is encoded as the tokenizer's empty sequence. Texts are
    read twice, in their order, and a shard of them is held in memory at a time
    (:class:`optical.data.document_store.FullTexts` reads its texts from disk). Texts that an earlier collection in the
    cache has are not encoded again; ``say`` is told how many are.

    Raises:
        DataError: See :func:`optical.embeddings.embed.embed_collection`; or a shard that is there is damaged.
    """
    folder = cached_documents(encoder, chain(ids, texts), cache, options)
    if not (folder / MANIFEST).is_file():
        documents = zip(ids, texts, strict=True)
        options = _with_rest(options, folder, len(ids))
        _say_new(embed_collection(encoder, documents, folder, options, ranks=ALONE, progress=progress), say)
    mark_used(folder)
    return sharded_vectors(read_shards(folder))


def stream_vectors(
    encoder: Encoder,
    documents: Callable[[], Iterable[Document]],
    cache: Path,
    options: EmbedOptions = DEFAULTS,
    *,
    progress: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Vectors:
    """The vectors of :func:`document_vectors`, in the same folder, for a collection larger than memory.

    ``documents`` gives ``(id, text)`` pairs anew each time. They are read three times: ids and texts name the folder,
    then they are embedded, a shard in memory at a time. The ranks of a launch share the shards; a damaged shard is made
    again.

    Raises:
        DataError: See :func:`optical.embeddings.embed.embed_collection`.
    """
    count = itertools.count()
    parts = chain((doc_id for doc_id, _ in documents() if next(count) >= 0), (text for _, text in documents()))
    folder = cached_documents(encoder, parts, cache, options)
    if (folder / MANIFEST).is_file():
        with contextlib.suppress(DataError):  # a shard is missing or damaged: it is made again
            found = sharded_vectors(read_shards(folder))
            mark_used(folder)
            return found
    options = _with_rest(options, folder, next(count))
    made = embed_collection(encoder, documents, folder, options, progress=progress)
    _say_new(made, say)
    return sharded_vectors(made)


def documents_missing(
    encoder: Encoder, ids: Sequence[str], texts: Sequence[str], cache: Path, options: EmbedOptions = DEFAULTS
) -> int:
    """Count those of these documents that :func:`document_vectors` would have to encode."""
    folder = cached_documents(encoder, chain(ids, texts), cache, options)
    if (folder / MANIFEST).is_file():
        return 0
    options = _with_rest(options, folder, len(ids))
    return new_texts(encoder, texts, options._replace(earlier=[*options.earlier, folder]))


def _with_rest(options: EmbedOptions, folder: Path, count: int) -> EmbedOptions:
    """Options for a folder: documents without text have a row too, and the encoder's other folders are looked into."""
    _, encoder, _ = folder.name.split("-", 2)
    earlier = sorted(other for other in folder.parent.glob(f"documents-{encoder}-*") if other != folder)
    return options._replace(keep_empty=True, total=count, earlier=earlier)


def _say_new(made: Shards, say: Callable[[str], None]) -> None:
    count, copied = made.manifest["count"], made.manifest["copied"]
    if copied:
        say(f"{count - copied:,} of {count:,} documents are new or changed; the vectors of the others are reused")


def cached_documents(encoder: Encoder, parts: Iterable[str], cache: Path, options: EmbedOptions) -> Path:
    """Where a collection's vectors are: named by the encoder, the documents, and precisions that were asked for."""
    kind = f"-{options.precision}" if options.precision else ""
    kind += "" if options.compute == "float32" else f"-in-{options.compute}"
    return cache / f"documents-{fingerprint(encoder, 'document')}-{checksum(parts)}{kind}"


def _encoded(
    teacher: Encoder, texts: Sequence[str], batch_size: int, progress: bool
) -> tuple[list[np.ndarray], np.ndarray, Reading]:
    """Token matrices and sentence vectors of all texts, in their order, and how much of them was read.

    The longest are encoded first.
    """
    order = np.argsort([-len(text) for text in texts], kind="stable")
    tokens: list[np.ndarray] = [np.zeros((0, 1))] * len(texts)
    sentences: list[np.ndarray] = [np.zeros(0)] * len(texts)
    lengths = [0] * len(texts)
    teacher.eval()
    with torch.inference_mode(), bar("Teacher vectors", len(texts), "text", wanted=progress) as shown:
        for k in range(0, len(order), batch_size):
            rows = order[k : k + batch_size]
            features = teacher.preprocess([texts[i] for i in rows], prompt=query_prompt(teacher), task="query")
            for i, mask in zip(rows, features["attention_mask"], strict=True):
                lengths[i] = int(mask.sum())
            encoded = encode_batch(teacher, features, task="query")
            for i, vectors, mask, sentence in zip(rows, *encoded.tokens, encoded.sentence, strict=True):
                tokens[i] = vectors[mask].cpu().numpy().astype(np.float16)
                sentences[i] = torch.nn.functional.normalize(sentence.float(), dim=-1).cpu().numpy()
            shown.update(len(rows))
    return tokens, np.stack(sentences), reading(teacher, texts, lengths, query_prompt(teacher))


def _write(folder: Path, tokens: Sequence[np.ndarray], sentences: np.ndarray, read: Reading) -> None:
    start = np.concatenate([[0], np.cumsum([len(row) for row in tokens])])
    dimension = tokens[0].shape[1]
    with (folder / TOKENS).open("wb") as file:  # row by row: writing to a memory map of a full disk kills the process
        header = {"descr": "<f2", "fortran_order": False, "shape": (int(start[-1]), dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for row in tokens:
            file.write(np.ascontiguousarray(row, dtype="<f2").tobytes())
    np.save(folder / START, start)
    np.save(folder / SENTENCES, sentences)
    facts = {"texts": len(tokens), "tokens": int(start[-1]), "reading": read._asdict()}
    facts["files"] = {path.name: noted(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(facts), encoding="utf-8")


def read_vectors(folder: Path, *, verify: bool = False) -> Vectors:
    """Read what :func:`teacher_vectors` wrote; checksums are taken of files of another time, or with ``verify`` of all.

    Raises:
        DataError: A file is missing or damaged, or they disagree.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, note in manifest.get("files", {}).items():
            if problem := changed(folder / name, note, full=verify):
                raise ValueError(f"{name} {problem}")
        mode = "r" if manifest["tokens"] else None  # an empty file cannot be mapped
        tokens = np.load(folder / TOKENS, mmap_mode=mode)
        start, sentences = np.load(folder / START), np.load(folder / SENTENCES)
        read = Reading(**manifest["reading"]) if "reading" in manifest else None
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder}: cached vectors cannot be read ({error}); remove this folder, it is made again"
        ) from error
    if len(start) != manifest["texts"] + 1 or len(tokens) != manifest["tokens"] or len(sentences) != manifest["texts"]:
        raise DataError(
            f"{folder}: cached vectors are not those that were written; remove this folder, it is made again"
        )
    return Vectors(tokens, start, sentences, folder, read)
