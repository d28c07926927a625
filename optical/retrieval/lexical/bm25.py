"""BM25 on English documents, by one of two engines, whose scores differ.

- ``lucene``: Anserini through pyserini's jar, as in the literature; needs Java 21 or newer (``make setup-bm25``
  installs it);
- ``bm25s``: Python and numpy, without Java.

Queries are taken as they are: English ones, untranslated X, or translations
(:mod:`optical.retrieval.lexical.translate`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from optical.errors import DataError, RecipeError
from optical.files import checksum, written_whole
from optical.marker import check_sealed
from optical.retrieval.lexical import lucene

K1, B = 0.9, 0.4  # Anserini's defaults; Robertson's 1.2 and .75 are worse on passages
AUTO, LUCENE, BM25S = "auto", "lucene", "bm25s"
MANIFEST = "optical.json"

Answer = Callable[[Sequence[str], int, int], list[list[tuple[int, float]]]]
"""``(texts of queries, k, threads)`` -> for each query ``(row of the document, score)``, best first."""


class Index(NamedTuple):
    """Documents that can be searched.

    Attributes:
        ids: Document ids in the order of the rows.
        engine: ``lucene`` or ``bm25s``.
        version: Of the engine.
        analysis: How texts become terms, for people to read.
        k1: How fast repetitions of a word stop counting; 0 counts none.
        b: How much long documents are discounted, 0 to 1.
        answer: The search.
    """

    ids: Sequence[str]
    engine: str
    version: str
    analysis: str
    k1: float
    b: float
    answer: Answer


class Ranked(NamedTuple):
    """Documents that BM25 found, and the engine that searched.

    Attributes:
        engine: ``lucene`` or ``bm25s``.
        version: Of the engine.
        analysis: How texts became terms, for people to read.
        k1: Of the search.
        b: Of the search.
        found: Query id -> ``(document id, score)``, best first, scores above 0 only.
    """

    engine: str
    version: str
    analysis: str
    k1: float
    b: float
    found: dict[str, list[tuple[str, float]]]

    def in_words(self) -> str:
        """The name of the engine in tables."""
        return f"BM25 ({self.engine}: {self.version}; k1 {self.k1:g}, b {self.b:g}; {self.analysis})"


def available(engine: str = AUTO) -> tuple[str | None, str]:
    """Tell which engine would run here, without starting it.

    Args:
        engine: ``auto`` prefers ``lucene``.

    Returns:
        The engine or None, and one sentence: its version, or what is missing.

    Raises:
        RecipeError: There is no such engine.
    """
    _check_engine(engine)
    lacks = {LUCENE: lucene.missing, BM25S: _bm25s_missing}
    wanted = [LUCENE, BM25S] if engine == AUTO else [engine]
    reasons = {}
    for one in wanted:
        reasons[one] = lacks[one]()
        if not reasons[one]:
            return one, _in_words(one) + (f"; not lucene: {reasons[LUCENE]}" if one != wanted[0] else "")
    why = "; ".join(f"{one}: {reason}" for one, reason in reasons.items())
    return None, f"BM25 cannot run, {why}; run `make setup-bm25`"


@contextmanager
def opened(
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    engine: str = AUTO,
    k1: float = K1,
    b: float = B,
    folder: Path | None = None,
) -> Iterator[Index]:
    """Index documents once, for any number of searches.

    Args:
        ids: n document ids, different from each other.
        texts: n texts, in English; an empty one is never found. They are read in their order, more than once, and not
            kept: lucene takes some at a time. bm25s needs the words of all of them in memory while it indexes, 2.4 kB
            for a passage of 60 words, and .5 kB afterwards.
        engine: ``auto``, ``lucene`` or ``bm25s``.
        k1: At least 0.
        b: 0 to 1.
        folder: Where lucene keeps its index, which is used again for the same documents, with any k1 and b; None for
            a temporary one. ``bm25s`` holds everything in memory and writes nothing.

    Raises:
        DataError: ids and texts do not fit, all texts are empty, or the folder holds something else or is broken.
        RecipeError: k1, b or engine is none of the above, or the engine cannot run here.
    """
    _check_parameters(k1, b)
    _check_documents(ids, texts)
    chosen, sentence = available(engine)
    if chosen is None:
        raise RecipeError(sentence)
    opening: dict[str, Callable[[], AbstractContextManager[Index]]] = {
        LUCENE: lambda: _lucene(ids, texts, k1, b, folder),
        BM25S: lambda: _bm25s(ids, texts, k1, b),
    }
    with opening[chosen]() as index:
        yield index


def search(index: Index, queries: Sequence[tuple[str, str]], k: int, threads: int = 1) -> Ranked:
    """Find the k best documents for each query; fewer where fewer share a word with it.

    Args:
        index: As :func:`opened` gives it.
        queries: ``(id, text)``; ids are different from each other.
        k: Documents for a query, at least 1.
        threads: Of the engine.

    Raises:
        DataError: A query id appears twice.
        RecipeError: k or threads is below 1.
    """
    for name, value in (("k", k), ("threads", threads)):
        if value < 1:
            raise RecipeError(f"{name} must be at least 1; got {value}; k = 100 and one thread are usual")
    query_ids = [query_id for query_id, _ in queries]
    _check_distinct(query_ids, "query")
    rows = index.answer([text for _, text in queries], k, threads) if queries else []
    found = {
        query_id: [(index.ids[row], score) for row, score in some if score > 0]
        for query_id, some in zip(query_ids, rows, strict=True)
    }
    return Ranked(index.engine, index.version, index.analysis, index.k1, index.b, found)


@contextmanager
def _lucene(ids: Sequence[str], texts: Sequence[str], k1: float, b: float, folder: Path | None) -> Iterator[Index]:
    with tempfile.TemporaryDirectory(prefix="optical-bm25-") as temporary:
        place = Path(temporary) / "index" if folder is None else Path(folder)
        facts = {
            "engine": LUCENE, "version": lucene.version(), "analysis": lucene.ANALYSIS, "documents": len(ids),
            "checksum": checksum(chain(ids, texts)),
        }  # fmt: skip
        if not _serves(place, facts):
            _write(texts, place, facts)
        with lucene.opened(place, k1, b) as answer:
            yield Index(ids, LUCENE, facts["version"], lucene.ANALYSIS, k1, b, answer)


def _serves(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether the folder is an index of these documents by this version; other folders and damaged ones are refused."""
    if not folder.exists():
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        ours = manifest["engine"] == LUCENE
    except (OSError, ValueError, KeyError, TypeError):
        manifest, ours = {}, folder.is_dir() and not any(folder.iterdir())
    if not ours:
        raise DataError(
            f"this would be overwritten by the index of BM25, but is none; at {folder}; name another folder, or remove "
            "it"
        )
    if {key: manifest.get(key) for key in facts} != facts:
        return False
    check_sealed(folder, "remove this folder: the index is built again")
    return True


def _write(texts: Sequence[str], folder: Path, facts: dict[str, Any]) -> None:
    try:
        with written_whole(folder, sealed=True) as unfinished:
            indexed = lucene.build(texts, unfinished)
            text = json.dumps({**facts, "indexed": indexed}, indent=2, ensure_ascii=False)
            (unfinished / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(
            f"the index of BM25 cannot be written: {error.strerror}; at {folder}; free some space or name another "
            "folder"
        ) from error


@contextmanager
def _bm25s(ids: Sequence[str], texts: Sequence[str], k1: float, b: float) -> Iterator[Index]:
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it logs every index, on a handler of its own
    options: dict[str, Any] = {"stopwords": "en", "stemmer": stemmer(), "show_progress": False}
    words: Any = bm25s.tokenize(texts, **options)  # pyright: ignore[reportArgumentType] - any sequence will do
    if not any(words.ids):
        raise DataError(
            f"none of the {len(texts)} documents has a word of two letters that is no English stop word; "
            "BM25 is for documents in English: check the texts"
        )
    retriever = bm25s.BM25(method="lucene", k1=k1, b=b)
    retriever.index(words, show_progress=False)
    del words  # twice what the index takes

    def answer(queries: Sequence[str], k: int, threads: int) -> list[list[tuple[int, float]]]:
        asked = bm25s.tokenize(list(queries), return_ids=False, **options)
        rows, scores = retriever.retrieve(
            asked, k=min(k, len(ids)), n_threads=threads if threads > 1 else 0, show_progress=False
        )
        return [list(zip(r.tolist(), s.tolist(), strict=True)) for r, s in zip(rows, scores, strict=True)]

    yield Index(ids, BM25S, _bm25s_version(), _bm25s_analysis(), k1, b, answer)


def stemmer() -> Any:
    """Porter's stemmer, which Anserini uses too, where PyStemmer is installed; else None."""
    if importlib.util.find_spec("Stemmer") is None:
        return None
    import Stemmer

    return Stemmer.Stemmer("porter")


def _bm25s_missing() -> str:
    return "" if importlib.util.find_spec("bm25s") else "no bm25s is installed"


def _bm25s_version() -> str:
    return f"bm25s {importlib.metadata.version('bm25s')}"


def _bm25s_analysis() -> str:
    stemming = "Porter stemmer" if importlib.util.find_spec("Stemmer") else "no stemmer (PyStemmer is not installed)"
    return f"lower case, English stop words, {stemming}"


def _in_words(engine: str) -> str:
    if engine == LUCENE:
        return f"BM25 by lucene ({lucene.version()}, {lucene.java_in_words()}; {lucene.ANALYSIS})"
    return f"BM25 by bm25s ({_bm25s_version()}; {_bm25s_analysis()})"


def _check_engine(engine: str) -> None:
    if engine not in (AUTO, LUCENE, BM25S):
        raise RecipeError(f"unknown engine of BM25; got {engine!r}; choose among {AUTO}, {LUCENE}, {BM25S}")


def _check_parameters(k1: float, b: float) -> None:
    if not (math.isfinite(k1) and k1 >= 0 and 0 <= b <= 1):
        raise RecipeError(
            f"BM25 takes k1 of at least 0 and b from 0 to 1; got k1 = {k1}, b = {b}; {K1} and {B} are usual"
        )


def _check_documents(ids: Sequence[str], texts: Sequence[str]) -> None:
    if len(ids) != len(texts):
        raise DataError(
            f"every document has one id and one text; got {len(ids)} ids and {len(texts)} texts; read them again"
        )
    if not any(text.strip(lucene.BLANK) for text in texts):
        raise DataError(f"BM25 needs a document with a text; got {len(texts)} documents, all empty; check the texts")
    _check_distinct(ids, "document")


def _check_distinct(ids: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for position, one in enumerate(ids, start=1):
        if one in seen:
            raise DataError(f"{what} ids must differ; {one!r}, number {position}, is there twice; rename the {what}")
        seen.add(one)
