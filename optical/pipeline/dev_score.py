"""The development score, which chooses a checkpoint: MAP of judged dev queries, or of held-out pairs where none are.

It is a function from encoder to score, made of bitext, a teacher and perhaps an embedded collection; the pairs that are
left to train on come with it. It also gives AP by query (``measured``), so that the choice can be tested. Held-out
pairs are drawn in strata of unseen words and length (:mod:`optical.data.held_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias

import numpy as np

from optical.config.recipe import Recipe
from optical.data.bitext import Pair
from optical.data.collection import Collection, judgements_of, queries_of
from optical.data.document_store import FullTexts, ids_of, with_ids
from optical.data.held_out import Kind, hold_out, in_words
from optical.data.records import ENGLISH, Doc, Qrel, Query
from optical.embeddings.cache import document_vectors
from optical.embeddings.embedded_collection import EmbeddedCollection
from optical.embeddings.vectors import Vectors
from optical.evaluation.measures import measure
from optical.evaluation.strata import Stratified, Stratum
from optical.files import checksum
from optical.models.encoders import Encoder
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
) -> tuple[Score | None, dict[str, list[Pair]]]:
    """The score that chooses the checkpoint, the mean over the languages, and by language the pairs left to train on.

    A pair held out for one language is held out for all. A language with too few pairs to hold any out has no score and
    no part in the mean.
    """
    scores: list[Score] = []
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
    """Queries of one language, and the embedded documents that they are judged on.

    Attributes:
        queries: In X.
        vectors: Of the documents.
        ids: Of the documents, row by row.
        qrels: Judgements of the queries.
        strata: Weight and query ids of each stratum; without any, all queries are one.
    """

    queries: Sequence[Query]
    vectors: Vectors
    ids: Sequence[str]
    qrels: Sequence[Qrel]
    strata: Sequence[tuple[float, Sequence[str]]] = ()

    def measured(self, encoder: Encoder, vectors: Vectors | None = None) -> Stratified:
        """AP of each query that an encoder asks, over these documents or the same ones with other vectors."""
        found = search(encoder, self.queries, self.vectors if vectors is None else vectors, self.ids, DEPTH)
        ap = measure(found, self.qrels, ("AP",)).per_query["AP"]
        strata = self.strata or [(1.0, list(ap))]
        return Stratified(tuple(Stratum(weight, np.array([ap[q] for q in asked])) for weight, asked in strata))

    @property
    def fingerprint(self) -> str:
        """A checksum of the queries, the documents, the judgements and the strata."""
        documents = [self.vectors.folder.name, *self.ids]  # the folder is named by the encoder and the texts
        measured = _checksum(self.queries, documents, self.qrels)
        return checksum([measured, str(self.strata)]) if self.strata else measured


class SetsScore(NamedTuple):
    """A development score over documents that stay as they are: MAP, the mean of the sets where there are several."""

    sets: Sequence[DevSet]

    def __call__(self, encoder: Encoder) -> float:
        """The score of an encoder."""
        return self.measured(encoder).mean

    def measured(self, encoder: Encoder, changed: Callable[[Vectors], Vectors] | None = None) -> Stratified:
        """AP by query, the sets as strata; ``changed`` gives the documents other vectors."""
        return _joined([one.measured(encoder, changed and changed(one.vectors)) for one in self.sets])

    @property
    def fingerprint(self) -> str:
        """A checksum of the sets."""
        own = [one.fingerprint for one in self.sets]
        return own[0] if len(own) == 1 else checksum(own)


class MeasuredScore(NamedTuple):
    """A development score made of a function.

    Attributes:
        measured: Encoder -> values by query.
        fingerprint: A checksum of the queries, the documents and the judgements.
    """

    measured: Callable[[Encoder], Stratified]
    fingerprint: str

    def __call__(self, encoder: Encoder) -> float:
        """The score of an encoder."""
        return self.measured(encoder).mean


Score: TypeAlias = SetsScore | MeasuredScore


def _joined(parts: Sequence[Stratified]) -> Stratified:
    """Several languages as strata of one score, which is their mean."""
    return Stratified(tuple(Stratum(weight / len(parts), values) for part in parts for weight, values in part.strata))


def _mean(scores: Sequence[Score]) -> Score | None:
    if len(scores) < 2:
        return scores[0] if scores else None
    known = [one for one in scores if isinstance(one, SetsScore)]
    if len(known) == len(scores):
        return SetsScore([one for score in known for one in score.sets])
    return MeasuredScore(
        lambda encoder: _joined([score.measured(encoder) for score in scores]),
        checksum(score.fingerprint for score in scores),
    )


def development_score(
    recipe: Recipe,
    teacher: Towers,
    pairs: list[Pair],
    searched: EmbeddedCollection | None,
    say: Callable[[str], None],
    weights: Mapping[Pair, float] | None = None,
) -> tuple[Score | None, list[Pair]]:
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
    strata, rest = hold_out(pairs, count, recipe.seed, trained)
    held_out = [pair for kind in strata for pair in kind.pairs]
    queries = [Query(f"q{k}", p.foreign) for k, p in enumerate(held_out)]
    told = f"development score: {count} held-out sentences, {in_words(strata)}, find"
    scorer = partial(_scorer, queries, strata=_asked(strata, queries))
    if searched:
        asked = [Query(f"q{k}", p.english) for k, p in enumerate(held_out)]
        first = search(teacher.queries, asked, searched.vectors, searched.ids, 1)
        qrels = [Qrel(query, document, 1) for query, found in first.items() for document in found]
        say(f"{told} the passage that their translation finds")
        return scorer(searched.vectors, searched.ids, qrels), rest
    english = list(dict.fromkeys(p.english for p in [*held_out, *rest[:MATES_AMONG]]))
    ids = [f"s{k}" for k in range(len(english))]
    row = dict(zip(english, ids, strict=True))
    vectors = document_vectors(teacher.documents, ids, english, recipe.cache_folder)
    qrels = [Qrel(f"q{k}", row[p.english], 1) for k, p in enumerate(held_out)]
    say(f"{told} their translation among {len(english)}")
    return scorer(vectors, ids, qrels), rest


def _asked(strata: Sequence[Kind], queries: Sequence[Query]) -> list[tuple[float, list[str]]]:
    """Weight and query ids of each stratum, whose pairs follow each other in the queries; of a single one, nothing."""
    ids = iter(query.id for query in queries)
    return [(kind.weight, list(islice(ids, len(kind.pairs)))) for kind in strata] if len(strata) > 1 else []


def _foreign_score(
    recipe: Recipe, teacher: Encoder, collection: Collection, say: Callable[[str], None]
) -> Score | None:
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
) -> MeasuredScore:
    """MAP over documents that the scored encoder embeds anew each time, since what it makes of them is learnt too.

    Args:
        queries: Asked by ``asking``, or by the scored encoder without it.
        docs: Searched exactly.
        qrels: Of these queries.
        asking: Another encoder of the queries, the teacher for English ones about documents in X.
    """
    ids, texts = ids_of(docs), FullTexts(docs)

    def measured(encoder: Encoder) -> Stratified:
        with TemporaryDirectory() as passing:  # of use for this score only
            vectors = document_vectors(encoder, ids, texts, Path(passing))
            return DevSet(queries, vectors, ids, qrels).measured(asking or encoder)

    return MeasuredScore(measured, _checksum(queries, chain(ids, texts), qrels))


def dev_queries(collection: Collection, lang: str, reported: str) -> list[Query]:
    """Judged queries of the split dev; none where that is the split that the table reports."""
    there = reported != "dev" and "dev" in collection.qrels and lang in collection.queries
    return queries_of(collection, lang, "dev") if there else []


def _scorer(
    queries: list[Query],
    vectors: Vectors,
    ids: list[str],
    qrels: list[Qrel],
    strata: Sequence[tuple[float, Sequence[str]]] = (),
) -> SetsScore:
    return SetsScore([DevSet(queries, vectors, ids, judgements_of(queries, qrels), strata)])


def _checksum(queries: Sequence[Query], documents: Iterable[str], qrels: Sequence[Qrel]) -> str:
    """Checksum of what is measured: the queries, what stands for the documents, and the judgements."""
    asked = (part for query in queries for part in query)
    judged = (f"{qrel.query_id} {qrel.doc_id} {qrel.relevance}" for qrel in qrels)
    return checksum([checksum(asked), checksum(documents), checksum(judged)])
