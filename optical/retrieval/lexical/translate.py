"""Queries of X in English, for BM25: from a file of translations, or word by word from a lexicon of the bitext."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optical.data.lines import lines
from optical.data.records import Query
from optical.data.words import Lexicon, fold, replace_words, tidy
from optical.errors import DataError


def read_translations(path: str | Path, queries: Sequence[Query]) -> list[Query]:
    """Read translations of queries: ``id<TAB>English text`` a line, plain or ``.gz``; empty lines are skipped.

    Args:
        path: The file, such as ``queries.sw.en.tsv``; it may hold more queries than these.
        queries: The queries that are wanted.

    Returns:
        The wanted queries in English, in their order.

    Raises:
        DataError: The file cannot be read, a line does not have two columns, an id is there twice, or a query has no
            translation.
    """
    found: dict[str, str] = {}
    for number, line in lines(Path(path)):
        if not line.strip():
            continue
        columns = [tidy(column) for column in line.split("\t")]
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"a line of translations is id<TAB>English text; received {line[:80]!r}; at {path}:{number}; write the "
                "id of the query, one tab, and its translation"
            )
        if columns[0] in found:
            raise DataError(
                f"query {columns[0]!r} is translated twice; at {path}:{number}; remove one of the two lines"
            )
        found[columns[0]] = columns[1]
    missing = [query.id for query in queries if query.id not in found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(queries)} queries have no translation, the first is {missing[0]!r}; at {path}, "
            f"which has {len(found)}; add a line for each, id<TAB>English text"
        )
    return [Query(query.id, found[query.id]) for query in queries]


def translate_by_lexicon(text: str, lexicon: Lexicon, most: int = 2) -> str:
    """Replace the words that a lexicon has by English ones; other words, and all between the words, stay.

    The words keep the order of X, so this is for searchers that ignore the order of words.

    Args:
        text: A query of X.
        lexicon: Folded word -> English words, surest first.
        most: English words for a word, at least 1. On the development queries of the Swahili sample 1, 2 and 3 give
            BM25 a MAP of .692, .701 and .696; untranslated .283.
    """
    return replace_words(text, lambda word: " ".join(lexicon.get(fold(word), ())[:most]) or None)
