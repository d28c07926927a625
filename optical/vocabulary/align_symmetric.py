"""Word alignment by IBM model 1 in both directions, trained to agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from optical.vocabulary.cooccurrence import co_occurrences
from optical.vocabulary.translation_table import Hints, TranslationTable, apply_hints, empty_table, per_id, sorted_table


def align_symmetric(
    english: Sequence[Sequence[int] | np.ndarray],
    foreign: Sequence[Sequence[int] | np.ndarray],
    *,
    steps: int = 5,
    max_length: int = 100,
    hints: Hints | None = None,
) -> TranslationTable:
    """IBM models 1 of both directions, both estimated from the geometric mean of their posteriors.

    For English token i and X token j of a sentence pair,
    ``p_ij = t(e_i | f_j) / sum_j' t(e_i | f_j')``, ``q_ij = t(f_j | e_i) / sum_i' t(f_j | e_i')``, and the expected
    counts of both models are sums of ``sqrt(p_ij q_ij)``: what only one side believes counts for little, so a word of X
    seen once no longer collects every English word of its sentence. After the joint training of Liang, Taskar &
    Klein (2006, "Alignment by Agreement"), who take the product ``p q``; its root did better on development sets.
    Hints are used as in :func:`optical.vocabulary.align_ibm1.align_ibm1`; parts smooth the direction ``t(e | f)`` only,
    since English pieces are not cut.

    Args:
        english: Token ids of each English sentence.
        foreign: Token ids of its translation.
        steps: EM iterations.
        max_length: Sentence pairs with a longer side are left out.
        hints: Back-off for rare words.

    Raises:
        ValueError: The two sides have different numbers of sentences.
    """
    met = co_occurrences(english, foreign, max_length)
    if met is None:
        return empty_table()
    start, smooth = apply_hints(hints, met.f, met.e)
    times, at_english, ends = met.english.data, met.english.indices, met.english.indptr
    at_foreign = csr_matrix((met.weight[at_english], met.foreign, ends))
    forward, backward, counts = per_id(start, met.f), per_id(start, met.e), start
    for _ in range(max(1, steps)):
        of_english, of_foreign = met.english.T @ forward, np.maximum(at_foreign.T @ backward, 1e-30)
        shared = times / np.sqrt(of_foreign)[met.foreign]
        scale = csr_matrix((shared, at_english, ends), shape=met.english.shape)
        counts = np.sqrt(forward * backward) * (scale @ (met.weight / np.sqrt(of_english)))
        forward, backward = per_id(counts + smooth(counts), met.f), per_id(counts, met.e)
    return sorted_table(met.f, met.e, counts, forward)
