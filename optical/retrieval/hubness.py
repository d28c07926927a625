"""Hubness: some documents ("hubs") lie near every question, and are found for many that they do not answer.

A *bank* of questions that nobody judged says which: each document gets a penalty, one number that is taken off all its
scores and that :mod:`optical.retrieval.dense.penalised` makes one more dimension of its vector. So search costs what it
costs without, with any index. Penalties add up to 0 over the documents, which changes no ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from optical.embeddings.shards import Matrix
from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.retrieval.dense.penalised import Penalised
from optical.transport.sinkhorn import column_potentials

NEIGHBOURS = 10  # questions of the bank that a document is nearest to, of CSLS
EPSILON = 0.02  # of the transport, in units of the score
SOLVED_ON = 8_192  # documents, evenly taken, that the potentials of the bank are solved for
LEAST = 2 * NEIGHBOURS  # questions of a bank
NUMBERS_AT_ONCE = 2**24  # products of documents and bank: 64 MB


def penalised(method: str, bank: np.ndarray, documents: Vectors) -> Vectors:
    """Documents whose scores are less their penalties, for :mod:`optical.retrieval.search` and for any index.

    Args:
        method: One of ``METHODS``.
        bank: Unit vectors of questions by the encoder that will ask, ``(m, e)``.
        documents: Single vectors.

    Raises:
        DataError: The bank has fewer than ``LEAST`` questions.
    """
    return documents._replace(sentences=Penalised(documents.sentences, penalties(method, bank, documents.sentences)))


def penalties(method: str, bank: np.ndarray, documents: Matrix) -> np.ndarray:
    r"""Penalties of documents, ``(n,)``, float32, in units of the score; their mean is 0.

    With x over the bank and :math:`s_{xd}` the product of question x and document d, up to the same number for all:

    - ``csls``: half the mean of the 10 highest :math:`s_{xd}`. Conneau, Lample et al. 2018, "Word translation without
      parallel data"; the term of the query changes no ranking.
    - ``centre``: the mean of all :math:`s_{xd}`, which is to subtract the mean of the bank from every query.
    - ``sinkhorn``: :math:`-f_d`, the dual potential of d in entropic transport between documents and bank with uniform
      masses and the cost :math:`-s_{xd}`: what lets every document be found equally often. The potentials g of the bank
      are solved for 8,192 documents at most, and
      :math:`-f_d = \epsilon \log \frac{1}{m} \sum_x \exp((g_x + s_{xd}) / \epsilon)`. One step of it, g = 0, is an
      inverted softmax. Pan et al. 2025, "Hubness Reduction with Dual Bank Sinkhorn Normalization" (arXiv
      2508.02538); their second bank is the documents here.

    Args:
        method: One of ``METHODS``.
        bank: Unit vectors of questions, ``(m, e)``.
        documents: Their vectors, ``(n, e)``, read a block at a time.

    Raises:
        DataError: The bank has fewer than ``LEAST`` questions.
    """
    check_bank(len(bank))
    found = METHODS[method](np.asarray(bank, dtype=np.float32), documents)
    return (found - found.mean()).astype(np.float32)


def check_bank(count: int) -> None:
    """Refuse a bank of too few questions."""
    if count < LEAST:
        raise DataError(
            f"hubness is measured by a bank of at least {LEAST} questions or sentences of the bitext; there are "
            f"{count}; set search.hubness = none, or give more bitext"
        )


def _csls(bank: np.ndarray, documents: Matrix) -> np.ndarray:
    return np.concatenate(
        [
            np.partition(block @ bank.T, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(axis=1) / 2
            for block in _blocks(documents, len(bank))
        ]
    )


def _centre(bank: np.ndarray, documents: Matrix) -> np.ndarray:
    mean = bank.mean(axis=0)
    return np.concatenate([block @ mean for block in _blocks(documents, len(bank))])


def _sinkhorn(bank: np.ndarray, documents: Matrix) -> np.ndarray:
    some = torch.from_numpy(np.asarray(documents[:: -(-len(documents) // SOLVED_ON)], dtype=np.float32))
    questions = torch.from_numpy(bank)
    C = -(some @ questions.T)[None]  # (1, n, m)
    a, b = (torch.full((1, count), 1 / count) for count in C.shape[1:])
    g = column_potentials(C, a, b, EPSILON)  # (1, m)
    return np.concatenate(
        [
            EPSILON * torch.logsumexp((g + torch.from_numpy(block) @ questions.T) / EPSILON, dim=1).numpy()
            for block in _blocks(documents, len(bank))
        ]
    )


METHODS: dict[str, Callable[[np.ndarray, Matrix], np.ndarray]] = {
    "csls": _csls, "sinkhorn": _sinkhorn, "centre": _centre,
}  # fmt: skip


def _blocks(documents: Matrix, questions: int) -> Iterator[np.ndarray]:
    rows = max(1, NUMBERS_AT_ONCE // questions)
    return (np.asarray(documents[first : first + rows], dtype=np.float32) for first in range(0, len(documents), rows))
