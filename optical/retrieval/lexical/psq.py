"""Probabilistic structured queries: BM25 where every word of a query stands for all its translations at once.

A word of X occurs in an English document as often as its translations do, each weighed by its probability (Darwish &
Oard 2003). The counts are arrays of this file, whichever engine serves the other rows; words are split as in the
alignment of the bitext, and stemmed by Porter's stemmer where PyStemmer is installed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from optical.data.lines import lines
from optical.data.records import Query
from optical.data.trec_run import Run, rank
from optical.data.words import fold, split_words
from optical.errors import DataError
from optical.retrieval.lexical.bm25 import K1, B, stemmer

SCORES_AT_ONCE = 20_000_000  # queries times documents whose scores are held together: 160 MB

Translations: TypeAlias = Mapping[str, Sequence[tuple[str, float]]]
"""Folded word of X -> English words, each with its probability."""


class Counts(NamedTuple):
    """Occurrences of each English term in each document.

    Attributes:
        ids: n document ids.
        terms: Term -> its row.
        frequency: Occurrences, sparse ``(v, n)``.
        length: Terms of each document.
        term_of: Folded English word -> its term.
    """

    ids: Sequence[str]
    terms: dict[str, int]
    frequency: csr_matrix
    length: Float[np.ndarray, " n"]
    term_of: Callable[[str], str]


def count_terms(ids: Sequence[str], texts: Sequence[str]) -> Counts:
    """Count the terms of English documents; texts are read once, in their order."""
    porter = stemmer()
    term_of = cache(porter.stemWord) if porter else str
    terms: dict[str, int] = {}
    rows, ends = array("i"), array("q", [0])
    for text in texts:
        rows.extend(terms.setdefault(term_of(fold(word)), len(terms)) for word in split_words(text))
        ends.append(len(rows))
    shape = (len(ids), len(terms))
    by_document = csr_matrix((np.ones(len(rows), np.float32), np.asarray(rows), np.asarray(ends)), shape=shape)
    by_document.sum_duplicates()
    return Counts(ids, terms, by_document.T.tocsr(), np.diff(ends).astype(np.float64), term_of)


def search(
    counts: Counts, queries: Sequence[Query], translations: Translations, k: int, *, k1: float = K1, b: float = B
) -> Run:
    r"""Find the k best documents for each query of X.

    .. math::
        tf(f, d) = \sum_e p(e | f) \, tf(e, d), \qquad df(f) = \sum_e p(e | f) \, df(e)

    and BM25 as Lucene has it over these. A word without a translation stands for itself, as names do. Darwish & Oard
    2003, "Probabilistic structured query methods", section 3; Yang et al. 2024, arXiv 2404.18797.

    Args:
        counts: Of n documents.
        queries: q queries.
        translations: ``p(e | f)``.
        k: Documents for a query; fewer where fewer have a translation of one of its words.
        k1: At least 0.
        b: 0 to 1.
    """
    n, found = len(counts.ids), Run()
    mean = counts.length.mean() if counts.length.any() else 1.0
    norm = k1 * (1 - b + b * counts.length / mean)
    documents = np.diff(counts.frequency.indptr)
    at_once = max(1, SCORES_AT_ONCE // max(1, n))
    for some in (queries[start : start + at_once] for start in range(0, len(queries), at_once)):
        asked = [[fold(word) for word in split_words(query.text)] for query in some]
        words = {word: row for row, word in enumerate(dict.fromkeys(chain.from_iterable(asked)))}
        table = _table(words, translations, counts)
        expected = csr_matrix(table @ counts.frequency)  # (words, n)
        df = table @ documents
        idf = np.log(1 + np.maximum(n - df + 0.5, 0.5) / (df + 0.5))
        row = np.repeat(np.arange(len(words)), np.diff(expected.indptr))
        expected.data = idf[row] * expected.data / (expected.data + norm[expected.indices])
        ends = np.cumsum([0, *map(len, asked)])
        each = np.array([words[word] for word in chain.from_iterable(asked)], dtype=np.int64)
        of_query = csr_matrix((np.ones(len(each)), each, ends), shape=(len(some), len(words)))
        for query, scores in zip(some, csr_matrix(of_query @ expected).toarray(), strict=True):
            best = np.argpartition(-scores, min(k, n) - 1)[:k]
            found[query.id] = rank([(counts.ids[d], float(scores[d])) for d in map(int, best) if scores[d] > 0])
    return found


def _table(words: Mapping[str, int], translations: Translations, counts: Counts) -> csr_matrix:
    """``p(e | f)`` of the words of some queries, ``(words, v)``; words with one stem are one term."""
    entries = [
        (row, term, probability)
        for word, row in words.items()
        for english, probability in translations.get(word) or ((word, 1.0),)
        if (term := counts.terms.get(counts.term_of(english))) is not None
    ]
    row, term, probability = (np.array(column) for column in zip(*entries, strict=True)) if entries else ([], [], [])
    return csr_matrix((probability, (row, term)), shape=(len(words), len(counts.terms)))


def write_translations(translations: Translations) -> str:
    """A table as text: ``word<TAB>english probability english probability ...`` a line."""
    return "".join(
        f"{word}\t{' '.join(f'{english} {probability:.4g}' for english, probability in found)}\n"
        for word, found in sorted(translations.items())
    )


def read_translations(path: Path) -> dict[str, list[tuple[str, float]]]:
    """Read a table that :func:`write_translations` wrote.

    Raises:
        DataError: The file cannot be read, or a line is none of a table.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for number, line in lines(path):
        word, _, rest = line.partition("\t")
        parts = rest.split()
        try:
            found[word] = [(english, float(p)) for english, p in zip(parts[::2], parts[1::2], strict=True)]
        except ValueError as error:
            raise DataError(
                f"a line of translation probabilities is word<TAB>english probability ...; received {line[:80]!r}; at "
                f"{path}:{number}; distill again, or remove the file"
            ) from error
    return found
