"""The development score, which chooses a checkpoint: MAP of judged dev queries, or of held-out pairs where none are.

It is a function from encoder to score, made of bitext, a teacher and perhaps an embedded collection; the pairs that are
left to train on come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from optical.config.recipe import Recipe
from optical.data.bitext import Pair, split
from optical.data.collection import Collection, judgements_of, queries_of
from optical.data.document_store import FullTexts, ids_of, with_ids
from optical.data.records import ENGLISH, Doc, Qrel, Query
from optical.embeddings.cache import document_vectors
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.evaluation.measures import Scores, measure
from optical.files import checksum
from optical.models.encoders import DevScore, Encoder, NamedScore, score_fingerprint
from optical.models.towers import Towers
from optical.pipeline.sides import sides
from optical.retrieval.search import search

DEPTH = 100  # documents for a query
MATES_AMONG = 2_000  # sentences that a held-out sentence must find its translation among


def development_scores(
    recipe: Recipe,
    teacher: Towers,
    pairs: Mapping[str, list[Pair]],
    searched: Mapping[str, EmbeddedCollection],
    say: Callable[[str], None],
    weights: Mapping[Pair, float] | None = None,
) -> tuple[DevScore | None, dict[str, list[Pair]]]:
    """The score that chooses the checkpoint, the mean over the languages, and by language the pairs left to train on.

    A pair held out for one language is held out for all. A language with too few pairs to hold any out has no score and
    no part in the mean.
    """
    scores: list[DevScore] = []
    left: dict[str, list[Pair]] = {}
    for lang, own in pairs.items():
        told = say if len(recipe.langs) == 1 else lambda text, lang=lang: say(f"{lang}: {text}")
        score, left[lang] = development_score(recipe.of(lang), teacher, own, searched.get(lang), told, weights)
        if score is not None:
            scores.append(score)
        elif len(pairs) > 1:
            told("too few pairs for a development score")
    held_out = {pair for lang, own in pairs.items() for pair in set(own) - set(left[lang])}
    left = {lang: [pair for pair in own if pair not in held_out] for lang, own in left.items()}
    return _mean(scores), left


class DevSet(NamedTuple):
    """Queries of one language, and the embedded documents that they are judged on."""

    queries: Sequence[Query]
    vectors: Vectors
    ids: Sequence[str]
    qrels: Sequence[Qrel]

    def measured(self, encoder: Encoder, vectors: Vectors | None = None) -> Scores:
        """AP of each query that an encoder asks, over these documents or the same ones with other vectors."""
        found = search(encoder, self.queries, self.vectors if vectors is None else vectors, self.ids, DEPTH)
        return measure(found, self.qrels, ("AP",))

    @property
    def fingerprint(self) -> str:
        """A checksum of the queries, the documents and the judgements."""
        documents = [self.vectors.folder.name, *self.ids]  # the folder is named by the encoder and the texts
        return _checksum(self.queries, documents, self.qrels)


class SetsScore(NamedTuple):
    """A development score over documents that stay as they are: MAP, the mean of the sets where there are several."""

    sets: Sequence[DevSet]

    def __call__(self, encoder: Encoder) -> float:
        """The score of an encoder."""
        return sum(one.measured(encoder).mean["AP"] for one in self.sets) / len(self.sets)

    @property
    def fingerprint(self) -> str:
        """A checksum of the sets."""
        own = [one.fingerprint for one in self.sets]
        return own[0] if len(own) == 1 else checksum(own)


def _mean(scores: Sequence[DevScore]) -> DevScore | None:
    if len(scores) < 2:
        return scores[0] if scores else None
    known = [one for one in scores if isinstance(one, SetsScore)]
    if len(known) == len(scores):
        return SetsScore([one for score in known for one in score.sets])
    return NamedScore(
        lambda encoder: sum(score(encoder) for score in scores) / len(scores), checksum(map(score_fingerprint, scores))
    )


def development_score(
    recipe: Recipe,
    teacher: Towers,
    pairs: list[Pair],
    searched: EmbeddedCollection | None,
    say: Callable[[str], None],
    weights: Mapping[Pair, float] | None = None,
) -> tuple[DevScore | None, list[Pair]]:
    """The score that chooses the checkpoint for one language, and the pairs left to train on.

    A collection with judgements called dev gives MAP on them. Otherwise some pairs are held out, questions first, and
    no judgement is needed: over an English collection, the relevant passage is the one that the teacher ranks first for
    the English side; without one, it is the English side itself, among other sentences. Pairs of weight 0 are not held
    out.
    """
    if searched and searched.collection.docs_lang != ENGLISH:
        if score := _foreign_score(recipe, teacher.queries, searched.collection, say):
            return score, pairs
        searched = None
    if searched and (queries := dev_queries(searched.collection, recipe.lang, recipe.search.split)):
        say(f"development score: MAP of {len(queries)} dev queries")
        return _scorer(queries, searched.vectors, searched.ids, searched.collection.qrels["dev"]), pairs
    trained = [pair for pair in pairs if not weights or weights.get(pair, 1)]
    count = min(recipe.training.held_out, len(trained) // 10)
    if not count:
        return None, pairs
    questions = [p for p in trained if p.is_question]
    _, held_out = split(questions if len(questions) > 2 * count else trained, count, recipe.seed)
    kept = set(pairs) - set(held_out)
    rest = [p for p in pairs if p in kept]
    queries = [Query(f"q{k}", p.foreign) for k, p in enumerate(held_out)]
    if searched:
        asked = [Query(f"q{k}", p.english) for k, p in enumerate(held_out)]
        first = search(teacher.queries, asked, searched.vectors, searched.ids, 1)
        qrels = [Qrel(query, document, 1) for query, found in first.items() for document in found]
        say(f"development score: {count} held-out sentences find the passage that their translation finds")
        return _scorer(queries, searched.vectors, searched.ids, qrels), rest
    english = list(dict.fromkeys(p.english for p in [*held_out, *rest[:MATES_AMONG]]))
    ids = [f"s{k}" for k in range(len(english))]
    row = dict(zip(english, ids, strict=True))
    vectors = document_vectors(teacher.documents, ids, english, Path(recipe.cache))
    qrels = [Qrel(f"q{k}", row[p.english], 1) for k, p in enumerate(held_out)]
    say(f"development score: {count} held-out sentences find their translation among {len(english)}")
    return _scorer(queries, vectors, ids, qrels), rest


def _foreign_score(
    recipe: Recipe, teacher: Encoder, collection: Collection, say: Callable[[str], None]
) -> DevScore | None:
    """MAP of the dev queries over documents in X; None without such queries.

    The judged documents and the first others are searched, :data:`MATES_AMONG` in all unless more are judged.
    """
    asked = sides(collection, recipe.lang, "dev").queries if "dev" in collection.qrels else recipe.lang
    queries = dev_queries(collection, asked, recipe.search.split)
    if not queries:
        return None
    judged = judgements_of(queries, collection.qrels["dev"])
    named = {qrel.doc_id for qrel in judged}
    unnamed = (doc_id for doc_id in ids_of(collection.docs) if doc_id not in named)
    others = set(islice(unnamed, max(0, MATES_AMONG - len(named))))
    docs = with_ids(collection.docs, named) + with_ids(collection.docs, others)
    say(f"development score: MAP of {len(queries)} dev queries, {len(docs)} {collection.docs_lang} documents")
    return score_anew(queries, docs, judged, teacher if asked == ENGLISH else None)


def score_anew(
    queries: Sequence[Query], docs: Sequence[Doc], qrels: Sequence[Qrel], asking: Encoder | None = None
) -> DevScore:
    """MAP over documents that the scored encoder embeds anew each time, since what it makes of them is learnt too.

    Args:
        queries: Asked by ``asking``, or by the scored encoder without it.
        docs: Searched exactly.
        qrels: Of these queries.
        asking: Another encoder of the queries, the teacher for English ones about documents in X.
    """
    ids, texts = ids_of(docs), FullTexts(docs)

    def score(encoder: Encoder) -> float:
        with TemporaryDirectory() as passing:  # of use for this score only
            vectors = document_vectors(encoder, ids, texts, Path(passing))
            return DevSet(queries, vectors, ids, qrels).measured(asking or encoder).mean["AP"]

    return NamedScore(score, _checksum(queries, chain(ids, texts), qrels))


def dev_queries(collection: Collection, lang: str, reported: str) -> list[Query]:
    """Judged queries of the split dev; none where that is the split that the table reports."""
    there = reported != "dev" and "dev" in collection.qrels and lang in collection.queries
    return queries_of(collection, lang, "dev") if there else []


def _scorer(queries: list[Query], vectors: Vectors, ids: list[str], qrels: list[Qrel]) -> SetsScore:
    return SetsScore([DevSet(queries, vectors, ids, judgements_of(queries, qrels))])


def _checksum(queries: Sequence[Query], documents: Iterable[str], qrels: Sequence[Qrel]) -> str:
    """Checksum of what is measured: the queries, what stands for the documents, and the judgements."""
    asked = (part for query in queries for part in query)
    judged = (f"{qrel.query_id} {qrel.doc_id} {qrel.relevance}" for qrel in qrels)
    return checksum([checksum(asked), checksum(documents), checksum(judged)])
