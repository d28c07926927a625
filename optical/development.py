"""The development score, which chooses a checkpoint: with judgements where there are some, and without where not.

Takes bitext, a teacher and perhaps a searched collection, gives a function from encoder to score and the pairs left to
train on. Knows no training.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from optical.embed import Vectors, document_vectors
from optical.encoders import DevScore, Encoder
from optical.evaluate import measure
from optical.inputs import Say
from optical.recipe import Recipe
from optical.search import search
from optical.text.bitext import Pair, split
from optical.text.collection import Collection, Qrel, Query, queries_of

MATES_AMONG = 2_000  # sentences that a held-out sentence must find its translation among


class Searched(NamedTuple):
    """A collection with the teacher's vectors of its documents."""

    collection: Collection
    vectors: Vectors
    ids: list[str]


def development_score(
    recipe: Recipe, teacher: Encoder, pairs: list[Pair], searched: Searched | None, say: Say
) -> tuple[DevScore | None, list[Pair]]:
    """The score that chooses the checkpoint, and the pairs left to train on.

    A collection with judgements called dev gives MAP on them. Otherwise some pairs are held out, questions first, and
    no judgement is needed: over a collection, the relevant passage is the one that the teacher ranks first for the
    English side; without a collection, it is the English side itself, among other sentences.
    """
    has_dev = searched is not None and recipe.search.split != "dev" and "dev" in searched.collection.qrels
    if searched and has_dev and (queries := queries_of(searched.collection, recipe.lang, "dev")):
        say(f"development score: MAP of {len(queries)} dev queries")
        return _scorer(queries, searched.vectors, searched.ids, searched.collection.qrels["dev"]), pairs
    count = min(recipe.training.held_out, len(pairs) // 10)
    if not count:
        return None, pairs
    questions = [p for p in pairs if p.english.endswith("?")]
    _, held_out = split(questions if len(questions) > 2 * count else pairs, count, recipe.seed)
    kept = set(pairs) - set(held_out)
    rest = [p for p in pairs if p in kept]
    queries = [Query(f"q{k}", p.foreign) for k, p in enumerate(held_out)]
    if searched:
        asked = [Query(f"q{k}", p.english) for k, p in enumerate(held_out)]
        first = search(teacher, asked, searched.vectors, searched.ids, 1)
        qrels = [Qrel(query, document, 1) for query, found in first.items() for document in found]
        say(f"development score: {count} held-out sentences find the passage that their translation finds")
        return _scorer(queries, searched.vectors, searched.ids, qrels), rest
    english = list(dict.fromkeys(p.english for p in [*held_out, *rest[:MATES_AMONG]]))
    ids = [f"s{k}" for k in range(len(english))]
    row = dict(zip(english, ids, strict=True))
    vectors = document_vectors(teacher, ids, english, Path(recipe.cache))
    qrels = [Qrel(f"q{k}", row[p.english], 1) for k, p in enumerate(held_out)]
    say(f"development score: {count} held-out sentences find their translation among {len(english)}")
    return _scorer(queries, vectors, ids, qrels), rest


def _scorer(queries: list[Query], vectors: Vectors, ids: list[str], qrels: list[Qrel]) -> DevScore:
    judged = about(queries, qrels)
    return lambda encoder: measure(search(encoder, queries, vectors, ids, 100), judged, ("AP",)).mean["AP"]


def about(queries: list[Query], qrels: list[Qrel]) -> list[Qrel]:
    """The judgements of these queries: a collection may judge questions that were never asked in X."""
    ids = {query.id for query in queries}
    return [qrel for qrel in qrels if qrel.query_id in ids]
