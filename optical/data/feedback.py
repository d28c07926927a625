"""Feedback: judgements of passages by those who asked, in a file of JSON lines that grows while a run is served.

A line is ``{"lang": "sw", "query": "...", "id": "<document>", "relevance": 1, "time": "..."}``; 0 means that the
passage does not answer, null that an earlier judgement is taken back. The last line of a question and a document
counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from optical.data.collection import Collection
from optical.data.document_store import ids_of
from optical.data.lines import json_object, lines
from optical.data.records import Qrel, Query
from optical.errors import DataError
from optical.limits import check_regular, fault_of_path, id_fault

SPLIT = "feedback"  # as judgements of a collection are called
LARGEST = 64 * 1024 * 1024  # bytes, beyond which nothing is added: whoever reaches the server can give feedback
RELEVANCES = (1, 0, None)
Judgements = dict[tuple[str, str], int]
_SHAPE = (
    'feedback has lines of {"lang": .., "query": .., "id": .., "relevance": 1}, as `optical serve --feedback` writes'
)


class Feedback:
    """A file that takes judgements; threads may share it."""

    def __init__(self, path: Path, langs: Sequence[str], ids: Ids[str]) -> None:
        """Check the file, or begin it.

        Args:
            path: It may hold feedback already, which stays.
            langs: That questions may be in.
            ids: Of the documents that can be judged.

        Raises:
            DataError: It holds something else, or cannot be written.
        """
        self.path, self.langs, self.ids, self._one_at_a_time = path, langs, ids, threading.Lock()
        check_feedback(path)

    def add(self, query: str, doc_id: str, relevance: int | None, lang: str | None = None) -> None:
        """Append a judgement, and see to it that it is on the disk.

        Args:
            query: The question.
            doc_id: Of the document that answers it, or not.
            relevance: One of ``RELEVANCES``.
            lang: Of the question; may be left out where there is one language.

        Raises:
            DataError: No such document, relevance or language, or the file is full.
        """
        if lang is None and len(self.langs) == 1:
            lang = self.langs[0]
        if lang not in self.langs:
            raise DataError(f"lang is the language of the question, one of {', '.join(self.langs)}; received {lang!r}")
        if relevance not in RELEVANCES or isinstance(relevance, bool):
            raise DataError(f"relevance is 1, 0 or null, received {relevance!r}")
        if doc_id not in self.ids:
            raise DataError(f"no document {doc_id[:100]!r} in this collection; judge a passage that was found")
        told = {"lang": lang, "query": query, "id": doc_id, "relevance": relevance}
        told["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps(told, ensure_ascii=False) + "\n"
        try:
            with self._one_at_a_time, self.path.open("ab") as file:
                if file.tell() > LARGEST:
                    raise DataError(f"the file of feedback has {LARGEST // 2**20} MB; nothing is added any more")
                file.write(line.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"the judgement could not be kept ({error.strerror})") from error


def check_feedback(path: Path) -> None:
    """Check that judgements can be added to a file, which is made where it is not there.

    Raises:
        DataError: It holds something else, or cannot be written.
    """
    if fault := fault_of_path(str(path)):
        raise DataError(f"{str(path)[:100]!r} cannot be written ({fault}); name another file with --feedback")
    if path.exists():
        check_regular(path)
        read_feedback(path)
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); name another file with --feedback") from error


def read_feedback(path: Path) -> dict[str, Judgements]:
    """Read the judgements of a file: language -> (question, document id) -> relevance, the last of each.

    Raises:
        DataError: It is no such file; the line is named.
    """
    found: dict[str, Judgements] = {}
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            record = json_object(text)
        except ValueError as error:
            raise DataError(f"bad JSON ({error}) at {path}:{number}; {_SHAPE}") from error
        given = [record.get(name) for name in ("lang", "query", "id")]
        relevance = record.get("relevance", "nothing")
        judged = relevance in RELEVANCES and not isinstance(relevance, bool)
        if not all(isinstance(one, str) and one for one in given) or not judged or id_fault(str(given[2])):
            raise DataError(f"no judgement at {path}:{number}; {_SHAPE}")
        lang, query, doc_id = map(str, given)
        own = found.setdefault(lang, {})
        own.pop((query, doc_id), None)
        if relevance is not None:
            own[query, doc_id] = int(relevance)
    return found


def judged_by_feedback(collections: Mapping[str, Collection], path: Path) -> dict[str, Collection]:
    """The collections with the questions and judgements of a file of feedback instead of their own.

    Judgements of documents that a collection does not have any more are counted in ``skipped``.

    Raises:
        DataError: See :func:`read_feedback`; it judges nothing that one of the collections has.
    """
    given = read_feedback(path)
    found = {lang: _judged(collection, given.get(lang, {}), lang) for lang, collection in collections.items()}
    if not any(one.qrels for one in found.values()):
        told = {lang: len(own) for lang, own in given.items()}
        raise DataError(
            f"{path} judges no document of {', '.join(one.name for one in collections.values())} for a question in "
            f"{', '.join(collections)} (judgements by language: {told or 'none'}); name the file of this run"
        )
    return {lang: one for lang, one in found.items() if one.qrels}


def _judged(collection: Collection, given: Mapping[tuple[str, str], int], lang: str) -> Collection:
    ids = set(ids_of(collection.docs))
    kept = {pair: relevance for pair, relevance in given.items() if pair[1] in ids}
    queries = {text: Query(query_id(text), text) for text, _ in kept}
    qrels = [Qrel(queries[text].id, doc_id, relevance) for (text, doc_id), relevance in kept.items()]
    gone = len(given) - len(kept)
    skipped = {"feedback on a document that is not there": gone} if gone else {}
    if not kept:
        return collection._replace(queries={}, qrels={}, skipped=skipped)
    return collection._replace(queries={lang: list(queries.values())}, qrels={SPLIT: qrels}, skipped=skipped)


def query_id(text: str) -> str:
    """The id of a question that has none: equal for equal questions."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
