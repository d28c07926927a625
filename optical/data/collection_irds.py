"""Read collections by their ir_datasets id, in the languages that ir_datasets states.

mMARCO has translated passages beside translated queries; its ids get the English passages with the same passage ids.
Whether documents, queries and judgements fit together is checked in :mod:`optical.data.collection`.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optical.data.collection_folder import UNNAMED_SPLIT
from optical.data.qrels import checked
from optical.data.records import ENGLISH, CollectionParts, Doc, Documents, Qrel, Query, checked_query
from optical.data.words import tidy
from optical.errors import DataError

IR_DATASETS = "irds:"  # prefix of an ir_datasets id

_MMARCO = re.compile(r"mmarco/(?:v2/)?[a-z]{2}/(?P<part>train|dev|dev/small)(?:/v1\.1)?")
_MSMARCO = "msmarco-passage"  # the English passages and queries that mMARCO is translated from, under the same ids
_CHOOSE = "choose an id with all three, such as a test or dev part"
_CODES = {"dt": "nl", "simple": ENGLISH}  # languages that an ir_datasets id spells in its own way


def read_named(name: str, langs: Sequence[str]) -> CollectionParts:
    """The parts of a collection by its ir_datasets id, the queries of ``langs`` among them.

    Queries that do not say their language are taken for English over documents in X, and for the first of ``langs``
    that is not English over English documents.

    Raises:
        DataError: No such id, an id without queries or judgements, or data that cannot be had.
    """
    with _within_reach(name):
        dataset, english = _load(name), _english_twin(name)
        _check_complete(name, dataset)
        documents = named_documents(name)
        asked = _code(dataset.queries_lang()) or _likely(documents.lang, langs)
        queries = {asked: list(_queries(dataset))} if asked in langs else {asked: []}
        if english and ENGLISH in langs and english != name:
            queries[ENGLISH] = list(_queries(_load(english)))
        place = IR_DATASETS + name
        qrels = [
            checked(Qrel(str(one.query_id), str(one.doc_id), int(one.relevance)), place) for one in dataset.qrels_iter()
        ]
    return CollectionParts(name, IR_DATASETS + name, documents, queries, {UNNAMED_SPLIT: qrels})


def named_documents(name: str) -> Documents:
    """The documents of an ir_datasets id: those of the English original for mMARCO, its own for every other.

    Raises:
        DataError: No such id, or one without documents.
    """
    source = _MSMARCO if _english_twin(name) else name
    with _within_reach(name):
        dataset = _load(source)
    if not dataset.has_docs():
        raise DataError(f"no docs in {IR_DATASETS}{name}; {_CHOOSE}")
    return Documents(IR_DATASETS + name, _code(dataset.docs_lang()) or ENGLISH, lambda: _docs(name, dataset))


def _load(name: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise DataError(
            f"ir_datasets is not installed, so {IR_DATASETS}{name} cannot be read; install the extra irds of optical"
        ) from error
    try:
        return ir_datasets.load(name)
    except KeyError as error:
        raise DataError(f"no such ir_datasets id: {name}; {_nearest(name, ir_datasets.registry)}") from error


def _nearest(name: str, known: Iterable[str]) -> str:
    """The nearest known id, as advice."""
    if name.startswith("clirmatrix/"):
        return "write clirmatrix/<documents>/bi139-base/<queries>/test1, with codes of its 139 languages"
    near = difflib.get_close_matches(name, list(known), n=1)
    return "; ".join([*(f"the nearest is {one}" for one in near), "look it up with: ir_datasets list"])


def _english_twin(name: str) -> str:
    """The id that has the same judgements in English; empty where there is none."""
    match = _MMARCO.fullmatch(name)
    return f"{_MSMARCO}/{match['part']}" if match else ""


def _check_complete(name: str, dataset: Any) -> None:
    missing = [part for part in ("docs", "queries", "qrels") if not getattr(dataset, f"has_{part}")()]
    if missing:
        raise DataError(f"no {' and no '.join(missing)} in {IR_DATASETS}{name}; {_CHOOSE}")


def _code(lang: str | None) -> str:
    return _CODES.get(lang, lang) if lang else ""


def _likely(docs_lang: str, langs: Sequence[str]) -> str:
    foreign = next((lang for lang in langs if lang != ENGLISH), ENGLISH)
    return foreign if docs_lang == ENGLISH else ENGLISH


def _docs(name: str, dataset: Any) -> Iterator[tuple[int, Doc]]:
    """Documents with their number; the text is what ir_datasets calls the default text, its title kept apart."""
    with _within_reach(name):
        for number, doc in enumerate(dataset.docs_iter(), start=1):
            title, text = getattr(doc, "title", None), tidy(doc.default_text())
            title = tidy(title) if isinstance(title, str) else ""
            if title and text.startswith(f"{title} "):
                text = text.removeprefix(f"{title} ")
            else:
                title = ""
            yield number, Doc(str(doc.doc_id), title, text)


def _queries(dataset: Any) -> Iterator[Query]:
    for query in dataset.queries_iter():
        yield checked_query(Query(str(query.query_id), tidy(query.default_text())), IR_DATASETS.rstrip(":"))


@contextmanager
def _within_reach(name: str) -> Iterator[None]:
    """Raise a DataError that says what to do where ir_datasets cannot fetch, unpack or check a file."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot get {IR_DATASETS}{name} ({str(error)[:120]}); check the network and the space in"
            " ~/.ir_datasets; some collections must be placed there by hand, as its documentation says"
        ) from error
