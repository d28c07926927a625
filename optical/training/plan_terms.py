"""Tell a transport plan of tokens beside their vectors: how rare they are, and which translate each other.

Rarity gives masses (``objective.masses = "idf"``); translation probabilities are a prior of the plan
(``objective.prior``). Both are learnt from the sentences that are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from optical.config.objective import Objective
from optical.data.bitext import Pair
from optical.embeddings.vectors import Vectors
from optical.errors import DataError
from optical.models.encoders import Encoder
from optical.models.prompts import pools_prompt, query_prompt
from optical.vocabulary.align_ibm1 import align_ibm1
from optical.vocabulary.token_ids import token_ids

FLOOR = 1e-3  # least t(e | f): what IBM model 1 says below it is chance


class Rarity(NamedTuple):
    """Rarity of each token on its own side of the bitext, for ``masses = "idf"``.

    Attributes:
        foreign: Weight of each id of the student's tokenizer, ``(v,)``.
        english: Weights of the teacher's tokens of each English sentence, one array ``(m_i,)`` a row.
    """

    foreign: Float[Tensor, " v"]
    english: Sequence[Float[np.ndarray, " m_i"]]


class Translations(NamedTuple):
    """Which tokens of the teacher translate a token of the student, by IBM model 1.

    Attributes:
        keys: ``f size + e`` of each pair of tokens, ascending; f and e are ids plus 1, and 0 for any special token.
        log: ``log t(e | f)`` of each pair, in nats.
        size: More than the largest e.
        special: Ids of the student's special tokens.
        english: e of each English sentence, one array ``(m_i,)`` a row.
    """

    keys: Int[Tensor, " k"]
    log: Float[Tensor, " k"]
    size: int
    special: Int[Tensor, " s"]
    english: Sequence[Int[np.ndarray, " m_i"]]

    def cost(self, ids: Int[Tensor, "b n"], rows: Sequence[int]) -> Float[Tensor, "b n m"]:
        """``-log t(e | f)`` of the student's tokens and the tokens of English sentences; never above ``-log FLOOR``.

        Special tokens ([CLS], [SEP], [MASK]) translate each other (0) and nothing else. Pairs that no two sentences had
        in common have the floor, so a token without any translation, such as a composed word or a piece that the bitext
        does not use, costs the same with every word: under balanced marginals the plan is free where it goes.

        Args:
            ids: The student's token ids; padding may hold anything.
            rows: English sentence of each row.
        """
        ids, chosen = ids.cpu(), [torch.from_numpy(self.english[row]) for row in rows]
        e = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)  # (b, m)
        f = torch.where(torch.isin(ids, self.special), 0, ids + 1)
        asked = f[:, :, None] * self.size + e[:, None, :]
        at = torch.searchsorted(self.keys, asked).clamp(max=len(self.keys) - 1)
        return -torch.where(self.keys[at] == asked, self.log[at], float(np.log(FLOOR)))


class PlanTerms(NamedTuple):
    """The masses and the prior for the plans of an objective; None for each that it does not ask for."""

    rarity: Rarity | None = None
    translations: Translations | None = None


def plan_terms(
    objective: Objective,
    student: Encoder,
    teacher: Encoder,
    pairs: Sequence[Pair],
    vectors: Vectors,
    asked: Sequence[Pair] | None = None,
) -> PlanTerms:
    """Learn from the sentences trained on what an objective tells its plans.

    Args:
        objective: Its ``masses`` and ``prior`` decide.
        student: Reads the X sides.
        teacher: Reads the English sides.
        pairs: Sentences trained on.
        vectors: The teacher's of the English sides, row by row.
        asked: Other sentences that the plans and ``vectors`` are of; None for those trained on.

    Raises:
        DataError: The teacher's tokens are not those of its tokenizer.
    """
    return PlanTerms(
        rarity(student, teacher, pairs, vectors, asked) if objective.masses == "idf" else None,
        translations(student, teacher, pairs, vectors, asked) if objective.prior else None,
    )


def idf(ids: Sequence[Sequence[int] | np.ndarray], size: int) -> Float[np.ndarray, " v"]:
    """Inverse document frequency of each token id, ``log(1 + N / df)`` in nats, N sentences of which df have the token.

    Never 0, so that a sentence of common tokens keeps its mass; an id that no sentence has counts as one that one has.
    """
    df = np.bincount(np.concatenate([np.unique(row) for row in ids]).astype(np.int64), minlength=size)
    return np.log1p(len(ids) / np.maximum(df, 1)).astype(np.float32)


def rarity(
    student: Encoder, teacher: Encoder, pairs: Sequence[Pair], vectors: Vectors, asked: Sequence[Pair] | None = None
) -> Rarity:
    """Compute how rare the tokens of both sides are among the sentences trained on.

    Raises:
        DataError: The teacher's tokens are not those of its tokenizer.
    """
    foreign = idf(_foreign_ids(student, pairs), len(student.tokenizer))
    special = torch.tensor(student.tokenizer.all_special_ids)
    ids = _english_ids(teacher, pairs)
    english = idf(ids, len(teacher.tokenizer))
    ids = ids if asked is None else _english_ids(teacher, asked)
    rows = [english[row] for row in _with_vectors(teacher, ids, vectors, 'objective.masses = "idf"', '"uniform"')]
    return Rarity(torch.from_numpy(foreign).index_fill(0, special, float(foreign.min())), rows)


def translations(
    student: Encoder, teacher: Encoder, pairs: Sequence[Pair], vectors: Vectors, asked: Sequence[Pair] | None = None
) -> Translations:
    """Align the student's tokens of the X sides with the teacher's of the English sides.

    Special tokens are left out of the alignment; those of a prompt are aligned as words are.

    Raises:
        DataError: The teacher's tokens are not those of its tokenizer.
    """
    ids = _english_ids(teacher, pairs)
    plans_of = ids if asked is None else _english_ids(teacher, asked)
    read = _with_vectors(teacher, plans_of, vectors, "objective.prior", "0")
    special, size = np.array(teacher.tokenizer.all_special_ids), len(teacher.tokenizer) + 1
    table = align_ibm1([row[~np.isin(row, special)] for row in map(np.asarray, ids)], _foreign_ids(student, pairs))
    kept = table.probability > FLOOR
    f, e, t = table.foreign[kept].astype(np.int64) + 1, table.english[kept] + 1, table.probability[kept]
    keys, log = np.append(0, f * size + e), np.append(0, np.log(t)).astype(np.float32)
    order = np.argsort(keys)
    english = [np.where(np.isin(row, special), 0, np.asarray(row) + 1) for row in read]
    foreign = torch.tensor(student.tokenizer.all_special_ids)
    return Translations(torch.from_numpy(keys[order]), torch.from_numpy(log[order]), size, foreign, english)


def _foreign_ids(student: Encoder, pairs: Sequence[Pair]) -> list[Int[np.ndarray, " n"]]:
    """The student's token ids of the X sides, prompt included, special tokens not."""
    prompt = query_prompt(student)
    return token_ids(student.tokenizer, [prompt + p.foreign for p in pairs])


def _english_ids(teacher: Encoder, pairs: Sequence[Pair]) -> list[list[int]]:
    """The teacher's token ids of the English sides as it reads them, prompt and special tokens included."""
    prompt = query_prompt(teacher)
    how: dict[str, Any] = {"truncation": teacher.max_seq_length is not None, "max_length": teacher.max_seq_length}
    return [teacher.tokenizer(prompt + p.english, **how)["input_ids"] for p in pairs]


def _with_vectors(
    teacher: Encoder, ids: Sequence[list[int]], vectors: Vectors, option: str, instead: str
) -> list[list[int]]:
    """The ids of the tokens that have vectors: all, or those behind a prompt that is not pooled.

    Raises:
        DataError: There are more or fewer vectors than tokens.
    """
    prompt = query_prompt(teacher)
    left_out = 0 if pools_prompt(teacher) else teacher.preprocess([""], prompt=prompt).get("prompt_length", 0)
    rows = [row[left_out:] for row in ids]
    if any(len(row) != len(vectors.of(k)) for k, row in enumerate(rows)):
        raise DataError(
            f"{option} needs a teacher that keeps every token of its tokenizer; this one leaves some out or adds some; "
            f"take {instead}"
        )
    return rows
