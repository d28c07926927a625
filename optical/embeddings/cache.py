"""Text to vectors on disk, once: the teacher's view of the bitext (for learning) and of the collection (for searching).

Takes an encoder and texts, gives memory-mapped arrays that are keyed by both, so that a second run, a second student or
a second experiment reads what the first one wrote. A collection of any size goes to disk in shards
(:mod:`optical.embeddings`). Knows no objective, no index and no language.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from optical.embeddings.encode import COMPUTES, Compute, agreement, encoded_batches
from optical.embeddings.shard import PRECISIONS, Precision
from optical.embeddings.shards import Rows, Shards, read_shards
from optical.embeddings.write_shards import Document, Plan, make_shards, ranks_of_environment
from optical.errors import DataError, RecipeError
from optical.files import checksum, written_whole
from optical.models.encoders import Encoded, Encoder, encode_batch, fingerprint, is_multi_vector
from optical.models.precision import check_precision
from optical.models.tokens import Tokens

SENTENCES_A_SHARD, TOKENS_A_SHARD = 50_000, 10_000  # documents; some 77 MB and 1 GB at 384 dimensions
COMPARED = 64  # documents whose vectors are made in float32 too, to say what bfloat16 costs

_TOKENS, _START, _SENTENCES, _MANIFEST = "tokens.npy", "start.npy", "sentences.npy", "optical.json"


class Vectors(NamedTuple):
    """Vectors of n texts, memory-mapped.

    Attributes:
        tokens: Token vectors of all texts one after another, ``(t, d)``, float16.
        start: Text i has the rows ``start[i]`` to ``start[i + 1]``, ``(n + 1,)``.
        sentences: One unit vector a text, ``(n, e)``, float32.
        folder: Where they lie.
    """

    tokens: Float[np.ndarray, "t d"] | Rows
    start: Int[np.ndarray, " n_plus_1"]
    sentences: Float[np.ndarray, "n e"] | Rows
    folder: Path

    def batch(self, rows: Sequence[int]) -> Encoded:
        """The given texts as one padded batch, float32."""
        return Encoded(padded([self.of(i) for i in rows]), torch.from_numpy(np.asarray(self.sentences[list(rows)])))

    def of(self, i: int) -> Float[np.ndarray, "n_i d"]:
        """Token vectors of text i."""
        return self.tokens[self.start[i] : self.start[i + 1]]


def padded(rows: Sequence[Float[np.ndarray, "n_i d"]]) -> Tokens:
    """Token matrices of different lengths as one batch, float32, the rest masked."""
    width = max((len(row) for row in rows), default=0)
    vectors = torch.zeros(len(rows), width, rows[0].shape[1] if len(rows) else 0)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for k, row in enumerate(rows):
        vectors[k, : len(row)] = torch.from_numpy(row.astype(np.float32))
        mask[k, : len(row)] = True
    return Tokens(vectors, mask)


def teacher_vectors(
    teacher: Encoder, texts: Sequence[str], cache: Path, *, batch_size: int = 64, progress: bool = False
) -> Vectors:
    """What the teacher makes of the English side of the bitext: every token and every sentence.

    Written below ``cache`` in a folder named by teacher and texts, as float16 tokens (2 d bytes each: some 20 kB for a
    sentence of 25 tokens and d = 384), and only read when it is there.
    """
    folder = cache / f"teacher-{fingerprint(teacher)}-{checksum(texts)}"
    if not (folder / _MANIFEST).is_file():
        with written_whole(folder) as unfinished:
            _write_all(unfinished, *_all_tokens(teacher, texts, batch_size, progress))
    return _read(folder)


def document_vectors(
    teacher: Encoder,
    ids: Sequence[str],
    texts: Sequence[str],
    cache: Path,
    *,
    batch_size: int | None = None,
    progress: bool = False,
    precision: Precision | None = None,
    compute: Compute = "float32",
) -> Vectors:
    """What the teacher makes of a collection: sentence vectors, or the scoring tokens of a late-interaction model.

    Row i is of ``ids[i]``, whatever its text: one without any is encoded as the tokenizer's empty sequence. Sentences
    are float32 and tokens float16 unless ``precision`` says otherwise. Texts are read twice, in their order, and a
    shard of them is held (:class:`optical.data.document_store.FullTexts` holds none beside).
    """
    folder = _folder(teacher, chain(ids, texts), cache, precision, compute)
    if (folder / _START).is_file():
        return _read(folder)  # written before there were shards
    if not (folder / _MANIFEST).is_file():
        embed_collection(
            teacher, zip(ids, texts, strict=True), folder,
            precision=precision, compute=compute, batch_size=batch_size, ranks=(0, 1), keep_empty=True,
            progress=progress,
        )  # fmt: skip
    return sharded_vectors(read_shards(folder))


def stream_vectors(
    teacher: Encoder,
    documents: Callable[[], Iterable[Document]],
    cache: Path,
    *,
    precision: Precision | None = None,
    compute: Compute = "float32",
    shard_size: int | None = None,
    progress: bool = False,
) -> Vectors:
    """The same vectors for a collection larger than memory, in the folder where :func:`document_vectors` finds them.

    Documents are read three times: their ids and their texts name the folder, then they are embedded, a shard in memory
    at a time; ranks of a launch share the shards.

    Args:
        teacher: Or whoever embeds the documents.
        documents: Gives ``(id, text)`` pairs anew each time.
        cache: Of document vectors.
        precision: As of :func:`embed_collection`.
        compute: As of :func:`embed_collection`.
        shard_size: As of :func:`embed_collection`.
        progress: Show a bar.

    Raises:
        DataError: See :func:`embed_collection`.
    """
    parts = chain((doc_id for doc_id, _ in documents()), (text for _, text in documents()))
    folder = _folder(teacher, parts, cache, precision, compute)
    if (folder / _START).is_file():
        return _read(folder)
    if (folder / _MANIFEST).is_file():
        with contextlib.suppress(DataError):  # a shard is missing or damaged: it is made again
            return sharded_vectors(read_shards(folder))
    shards = embed_collection(
        teacher, documents, folder,
        precision=precision, compute=compute, shard_size=shard_size, keep_empty=True, progress=progress,
    )  # fmt: skip
    return sharded_vectors(shards)


def _folder(teacher: Encoder, parts: Iterable[str], cache: Path, precision: Precision | None, compute: Compute) -> Path:
    """Where a collection's vectors are: named by the encoder, the documents, and precisions that were asked for."""
    kind = f"-{precision}" if precision else ""
    kind += "" if compute == "float32" else f"-in-{compute}"
    return cache / f"documents-{fingerprint(teacher, documents=True)}-{checksum(parts)}{kind}"


def sharded_vectors(shards: Shards) -> Vectors:
    """Shards as the vectors that search takes; start positions are held, vectors are read as they are asked for."""
    found, count = shards.vectors(), shards.manifest["count"]
    if shards.manifest["kind"] == "tokens":
        return Vectors(found, shards.start(), np.zeros((count, 0), dtype=np.float32), shards.folder)
    return Vectors(np.zeros((0, 1), dtype=np.float16), np.zeros(count + 1, dtype=np.int64), found, shards.folder)


def embed_collection(
    encoder: Encoder,
    documents: Iterable[Document] | Callable[[], Iterable[Document]],
    folder: str | Path,
    *,
    shard_size: int | None = None,
    precision: Precision | None = None,
    compute: Compute = "float32",
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    ranks: tuple[int, int] | None = None,
    keep_empty: bool = False,
    replace: bool = False,
    wait: float = 21_600.0,
    progress: bool = False,
) -> Shards:
    """Embed a collection of any size into a folder of shards; the same call goes on where an earlier one stopped.

    Memory holds one shard: its texts, ids and vectors. A shard that is there, whole and of the same texts, is not
    encoded again. Under ``accelerate launch`` or ``torchrun`` every rank makes its own shards, and all return when the
    collection is complete; machines without a common disk copy their shards into one folder and call
    :func:`optical.embeddings.write_shards.finish`.

    Args:
        encoder: The teacher: single-vector gives unit sentence vectors, late interaction unit token vectors.
        documents: ``(id, text)`` pairs, or a function that gives them anew. Ids are single words, each used once.
        folder: Of this collection and encoder alone.
        shard_size: Documents of a shard; 50,000, or 10,000 for late interaction.
        precision: float32 (default of sentences), float16 (default of tokens) or int8 with a scale for each vector. The
            manifest has the cosine of what is stored with what was encoded, min and mean.
        compute: What the encoder's products are made in. bfloat16 takes about .6 of the time on a processor that has
            instructions for it, less on a GPU; the manifest has the cosine of some vectors with those made in float32.
        batch_size: Texts encoded at once; they are of about one length.
        batch_tokens: Tokens encoded at once at most, padding counted. Without either, 1,024 on a CPU,
            where what a layer makes of them stays in the cache, and 32,768 on an accelerator.
        ranks: This process and how many there are, by default RANK and WORLD_SIZE of the environment.
        keep_empty: Encode a document without text as the tokenizer's empty sequence. Otherwise it is left out, so that
            no query finds it, and counted: ``manifest["empty"]``, and the first ids in its shard's manifest.
        replace: Make shards anew whose documents have changed since; otherwise they are refused.
        wait: Seconds without a new shard after which a rank gives up on the others.
        progress: Show a bar.

    Raises:
        DataError: Documents, folder or disk do not allow it; see :func:`optical.embeddings.write_shards.make_shards`.
        RecipeError: An option is out of its range, or bfloat16 is asked for on a processor without it.
    """
    from tqdm.auto import tqdm

    tokens = is_multi_vector(encoder)
    precision = precision or ("float16" if tokens else "float32")
    shard_size = shard_size or (TOKENS_A_SHARD if tokens else SENTENCES_A_SHARD)
    _check_options(precision, compute, shard_size, batch_size, batch_tokens)
    check_precision(compute, encoder.device.type)
    kind = "tokens" if tokens else "sentences"
    plan = Plan(fingerprint(encoder, documents=True), kind, precision, shard_size, keep_empty, compute)
    stream = iter(documents() if callable(documents) else documents)
    if compute != "float32":
        first = list(islice(stream, COMPARED))
        plan = plan._replace(agreement=agreement(encoder, [text for _, text in first], compute))
        stream = chain(first, stream)
    with tqdm(desc="Documents", unit="doc", disable=not progress) as bar:
        return make_shards(
            stream,
            Path(folder),
            lambda texts: encoded_batches(encoder, texts, batch_size, batch_tokens, compute),
            plan,
            ranks=ranks_of_environment() if ranks is None else ranks,
            replace=replace,
            wait=wait,
            done=bar.update,
        )


def embedded_collection(folder: str | Path, teacher: Encoder, *, verify: bool = False) -> Shards:
    """Open an embedded collection of this teacher; see :func:`optical.embeddings.shards.read_shards`."""
    return read_shards(folder, encoder=fingerprint(teacher, documents=True), verify=verify)


def _check_options(
    precision: str, compute: str, shard_size: int, batch_size: int | None, batch_tokens: int | None
) -> None:
    for name, chosen, known in (("precision", precision, PRECISIONS), ("compute", compute, COMPUTES)):
        if chosen not in known:
            raise RecipeError(f"{name} must be one of {', '.join(known)}; got {chosen!r}; leave it out, or choose")
    for name, value in (("shard_size", shard_size), ("batch_size", batch_size), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise RecipeError(f"{name} must be at least 1; got {value}; leave it out, or raise it")


def _all_tokens(teacher, texts, batch_size, progress):
    """Token matrices and sentence vectors of all texts, in their order, encoded from the longest to the shortest."""
    from tqdm.auto import tqdm

    order = np.argsort([-len(text) for text in texts], kind="stable")
    tokens: list[np.ndarray] = [np.zeros((0, 1))] * len(texts)
    sentences: list[np.ndarray] = [np.zeros(0)] * len(texts)
    teacher.eval()
    with torch.inference_mode():
        for k in tqdm(range(0, len(order), batch_size), desc="Teacher vectors", disable=not progress):
            rows = order[k : k + batch_size]
            task = {"task": "query"} if is_multi_vector(teacher) else {}
            encoded = encode_batch(teacher, teacher.preprocess([texts[i] for i in rows], **task), **task)
            for i, vectors, mask, sentence in zip(rows, *encoded.tokens, encoded.sentence, strict=True):
                tokens[i] = vectors[mask].cpu().numpy().astype(np.float16)
                sentences[i] = torch.nn.functional.normalize(sentence.float(), dim=-1).cpu().numpy()
    return tokens, np.stack(sentences)


def _write_all(folder: Path, tokens: Sequence[np.ndarray], sentences: np.ndarray) -> None:
    start = np.concatenate([[0], np.cumsum([len(row) for row in tokens])])
    dimension = tokens[0].shape[1]
    with (folder / _TOKENS).open("wb") as file:  # row by row: writing to a memory map of a full disk kills the process
        header = {"descr": "<f2", "fortran_order": False, "shape": (int(start[-1]), dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for row in tokens:
            file.write(np.ascontiguousarray(row, dtype="<f2").tobytes())
    np.save(folder / _START, start)
    np.save(folder / _SENTENCES, sentences)
    (folder / _MANIFEST).write_text(json.dumps({"texts": len(tokens), "tokens": int(start[-1])}), encoding="utf-8")


def _read(folder: Path) -> Vectors:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        mode = "r" if manifest["tokens"] else None  # an empty file cannot be mapped
        tokens = np.load(folder / _TOKENS, mmap_mode=mode)
        start, sentences = np.load(folder / _START), np.load(folder / _SENTENCES)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(
            f"{folder}: cached vectors cannot be read ({error}); remove this folder, it is made again"
        ) from error
    if len(start) != manifest["texts"] + 1 or len(tokens) != manifest["tokens"] or len(sentences) != manifest["texts"]:
        raise DataError(
            f"{folder}: cached vectors are not those that were written; remove this folder, it is made again"
        )
    return Vectors(tokens, start, sentences, folder)
