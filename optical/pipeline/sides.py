"""Whose side a text is on: the teacher embeds English, the student embeds its languages, nobody embeds a third one.

From a collection, the languages of a run and a split it follows who is asked what, which documents can be embedded and
which languages can be measured; what cannot is told or refused in words that say what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from optical.data.collection import Collection, queries_of
from optical.data.records import ENGLISH
from optical.errors import DataError

STUDENTS = "the student of a run embeds those in X, in `optical evaluate` and `optical index`"


class Sides(NamedTuple):
    """The languages that meet in a search: English is the teacher's to embed, X is the student's.

    Attributes:
        queries: Of the queries that are asked.
        documents: Of the documents that are searched.
    """

    queries: str
    documents: str


def sides(collection: Collection, lang: str, split: str) -> Sides:
    """Which languages meet when a run in X is measured: English documents are asked in X.

    Documents in X are asked in English where the split judges English queries, and in X otherwise.
    """
    if collection.docs_lang == ENGLISH:
        return Sides(lang, ENGLISH)
    english = ENGLISH in collection.queries and queries_of(collection, ENGLISH, split)
    return Sides(ENGLISH if english else lang, collection.docs_lang)


def check_english(name: str, docs_lang: str, why: str = STUDENTS) -> None:
    """Refuse documents that are not the teacher's to embed.

    Args:
        name: Of the collection, which need not have been read.
        docs_lang: Language of its documents.
        why: Ends the message with what to do.

    Raises:
        DataError: The documents are in X.
    """
    if docs_lang != ENGLISH:
        raise DataError(f"the documents of {name} are in {docs_lang}, and here they have to be English: {why}")


def embeddable(
    collections: Mapping[str, Collection], langs: Sequence[str], say: Callable[[str], None] = lambda _: None
) -> dict[str, Collection]:
    """The collections whose documents the teacher or a student of ``langs`` embeds; the others are named.

    Raises:
        DataError: Nobody embeds any of them.
    """
    faults = {lang: _embed_fault(collection, langs) for lang, collection in collections.items()}
    return without_faults(collections, faults, "indexed", say)


def judged(
    collections: Mapping[str, Collection | None], split: str, say: Callable[[str], None]
) -> dict[str, Collection]:
    """The collections of the languages that can be measured; of several languages, the others are named.

    Empty where no collection has any judgements: :func:`measurable` refuses that.

    Raises:
        DataError: There are judgements, but none of a query of its language in the split.
    """
    faults = {
        lang: _split_fault(collection, lang, split) if collection else f"no collection for {lang!r}"
        for lang, collection in collections.items()
    }
    has_judgements = any(collection.qrels for collection in collections.values() if collection)
    return without_faults(collections, faults, "measured", say) if has_judgements else {}


def measurable(collections: Mapping[str, Collection], split: str, say: Callable[[str], None]) -> dict[str, Collection]:
    """As :func:`judged`, for a job that is of no use without judgements.

    Raises:
        DataError: No collection has judgements, or none of a query of its language in the split.
    """
    if found := judged(collections, split, say):
        return found
    raise DataError(next(_split_fault(collection, lang, split) for lang, collection in collections.items()))


def unjudged(collections: Mapping[str, Collection | None]) -> dict[str, Collection]:
    """Language -> its collection, where that has questions in the language and no judgements."""
    return {
        lang: collection
        for lang, collection in collections.items()
        if collection and not collection.qrels and lang in collection.queries
    }


def without_faults(
    collections: Mapping[str, Collection | None], faults: Mapping[str, str], done: str, say: Callable[[str], None]
) -> dict[str, Collection]:
    """The collections that have no fault; the others are named by their languages.

    Args:
        collections: Language -> its collection; not all of them are None.
        faults: Language -> what is wrong with its collection; one that is missing or empty is none.
        done: What is not done with the others, ``"measured"`` for example.
        say: Told of each of the others.

    Raises:
        DataError: All have faults; it is the first one of a collection that is there.
    """
    found = {lang: one for lang, one in collections.items() if one and not faults.get(lang)}
    if not found:
        raise DataError(next(faults[lang] for lang, collection in collections.items() if collection))
    for lang, fault in faults.items():
        if fault:
            say(f"{lang} is not {done}: {fault}")
    return found


def check_split(collection: Collection, lang: str, split: str) -> None:
    """Refuse a collection in which the language has no side, or the split has no judged query to go with it.

    Raises:
        DataError: It says which judgements there are.
    """
    if fault := _split_fault(collection, lang, split):
        raise DataError(fault)


def _split_fault(collection: Collection, lang: str, split: str) -> str:
    """Why nothing can be measured; empty when something can."""
    if not collection.qrels:
        return (
            f"nothing can be measured on {collection.name}, which has no judgements: name a folder with"
            f" queries.{lang}.tsv and qrels.tsv by --collection, or put both into a folder with these documents"
        )
    there = ", ".join(collection.qrels)
    if split not in collection.qrels:
        return f"{collection.name} has no split {split!r}, only {there}; set search.split"
    if collection.docs_lang != ENGLISH:
        return _foreign_fault(collection, lang, split)
    if lang not in collection.queries:
        read = ", ".join(collection.queries)
        return f"{collection.name} has no {lang} queries, of those wanted only {read}; add queries.{lang}.tsv"
    if not queries_of(collection, lang, split):
        return f"{collection.name} judges no {lang} query in {split!r}; set search.split: {there}"
    return ""


def _foreign_fault(collection: Collection, lang: str, split: str) -> str:
    """Why nothing can be measured over documents that are not English."""
    if fault := _embed_fault(collection, [lang]):
        return fault
    asked = sides(collection, lang, split).queries
    if asked in collection.queries and queries_of(collection, asked, split):
        return ""
    return (
        f"{collection.name} has {lang} documents, but judges no English and no {lang} query in {split!r}; add "
        f"queries.en.tsv, or set search.split: {', '.join(collection.qrels)}"
    )


def _embed_fault(collection: Collection, langs: Sequence[str]) -> str:
    """Why nobody embeds the documents; empty when the teacher or a student of these languages does."""
    documents, known = collection.docs_lang, ",".join(langs)
    if documents in (ENGLISH, *langs):
        return ""
    return (
        f"{collection.name} has {documents} documents, which nobody embeds: the teacher knows English, the student "
        f"{known}; take English or {known} documents, or a run in {documents}"
    )
