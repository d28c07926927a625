"""The BM25 rows of a report: English documents searched for the words of questions in X, and the student fused with it.

Questions are asked as they are, by a lexicon of the bitext word by word, by all its translations at once (PSQ), and
translated where translations are given. Where BM25 cannot run, it is said why and there are no such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from optical.config.recipe import Recipe
from optical.config.search import Search
from optical.data.bitext import Pair
from optical.data.collection import Collection
from optical.data.document_store import FullTexts, ids_of
from optical.data.records import Qrel, Query
from optical.data.trec_run import Run, rank
from optical.errors import DataError
from optical.evaluation.measures import measure
from optical.files import write_text
from optical.retrieval import fusion
from optical.retrieval.lexical import bm25, psq
from optical.retrieval.lexical.translate import read_translations, translate_by_lexicon
from optical.training.augmentation import read_synonyms
from optical.vocabulary.lexicon import align_words, lexicon_of, translation_probabilities

UNTRANSLATED, BY_LEXICON, TRANSLATED = "BM25, untranslated", "BM25, bitext lexicon", "BM25, translated"
PSQ = "PSQ, bitext lexicon"
FUSED = "student and BM25"
HELD_IN_MEMORY = 2_000_000  # documents, up to which `auto` takes bm25s: some 5 GB while it indexes


def save_lexicons(recipe: Recipe, pairs: Mapping[str, Sequence[Pair]], langs: Iterable[str]) -> None:
    """Write the lexicons of the bitext into the folder of the run, for the languages that are measured."""
    if recipe.search.bm25 == "off" or bm25.available(recipe.search.bm25)[0] is None:
        return
    for lang in langs:
        aligned = align_words(pairs[lang])
        words = sorted(lexicon_of(aligned).items())
        write_text(_lexicon_path(recipe.folder, lang), "".join(f"{word}\t{' '.join(found)}\n" for word, found in words))
        write_text(_psq_path(recipe.folder, lang), psq.write_translations(translation_probabilities(aligned)))


class Development(NamedTuple):
    """Judged queries of another split than the one that is reported, by which the student is fused with a row.

    Attributes:
        queries: Some of them may be reported too.
        qrels: Of these.
        ask: The student's run of queries.
    """

    queries: Sequence[Query]
    qrels: Sequence[Qrel]
    ask: Callable[[list[Query]], Run]


def word_rows(
    recipe: Recipe,
    collection: Collection,
    queries: Sequence[Query],
    student: Run,
    development: Development,
    say: Callable[[str], None],
) -> dict[str, Run]:
    """The rows of words alone, then the student fused with the last of them, where there is one and fusion is not off.

    Args:
        recipe: Of one language.
        collection: With English documents.
        queries: In X, of the split that is reported.
        student: Its run of these.
        development: Perhaps empty.
        say: Told the engine, or why there is no row, and how the weight was chosen.

    Raises:
        DataError: The file of translations cannot be used.
        RecipeError: The engine that was asked for cannot run.
    """
    reported = {query.id for query in queries}
    chooses = recipe.search.fusion == "auto"
    others = [query for query in development.queries if query.id not in reported] if chooses else []
    every = lexical_runs(recipe, collection, queries, say, others)
    rows = {name: {query: found for query, found in run.items() if query in reported} for name, run in every.items()}
    if not rows or recipe.search.fusion == "off":
        return rows
    options, row = recipe.search, next(reversed(rows))
    if chooses:
        asked = row != TRANSLATED  # nobody translates the development queries
        options = _chosen(options, development if asked else development._replace(queries=[]), every[row], say)
    return rows | {FUSED: fused(options, student, rows[row])}


def lexical_runs(
    recipe: Recipe,
    collection: Collection,
    queries: Sequence[Query],
    say: Callable[[str], None],
    others: Sequence[Query] = (),
) -> dict[str, Run]:
    """Search by words: name of the row -> run, the most telling last; none where BM25 is off or cannot run.

    Args:
        recipe: Of one language.
        collection: With English documents.
        queries: In X.
        say: Told the engine, or why there is no row.
        others: More queries in X, which need no translation in the file of translations.

    Raises:
        DataError: The file of translations cannot be used.
        RecipeError: The engine that was asked for cannot run.
    """
    chosen = recipe.search.bm25
    if chosen == "off":
        return {}
    engine, sentence = bm25.available(chosen)
    if engine is None and chosen == bm25.AUTO:
        say(f"skipped: {sentence}")
        return {}
    if (engine, chosen) == (bm25.BM25S, bm25.AUTO) and len(collection.docs) > HELD_IN_MEMORY:
        say(
            f"BM25 skipped: bm25s holds the words of all {len(collection.docs)} documents in memory, some 2.4 kB each; "
            "run `make setup-bm25` for lucene, which does not, or set search.bm25 = bm25s"
        )
        return {}
    asked = _asked(recipe, queries, others)
    try:
        runs = _runs(recipe, collection, asked)
    except DataError as error:
        if chosen != bm25.AUTO:
            raise
        say(f"BM25 skipped: {error}")
        return {}
    say(sentence)
    if PSQ in runs:
        say(f"PSQ by arrays of its own: BM25 (k1 {bm25.K1:g}, b {bm25.B:g}) of counts that the translations give")
    return runs


def _runs(recipe: Recipe, collection: Collection, asked: Mapping[str, Sequence[Query]]) -> dict[str, Run]:
    ids, texts = ids_of(collection.docs), FullTexts(collection.docs)
    folder = recipe.cache_folder / f"bm25-{collection.checksum[:16]}"
    runs = {}
    with bm25.opened(ids, texts, engine=recipe.search.bm25, folder=folder) as index:
        for name, some in asked.items():
            if name == PSQ:
                table = psq.read_translations(_psq_path(recipe.folder, recipe.lang))
                runs[name] = psq.search(psq.count_terms(ids, texts), some, table, recipe.search.depth)
                continue
            words = [(query.id, query.text) for query in some]
            ranked = bm25.search(index, words, recipe.search.depth, torch.get_num_threads())
            runs[name] = {query_id: rank(found) for query_id, found in ranked.found.items()}
    return runs


def fused(options: Search, student: Run, words: Run) -> Run:
    """The student fused with a row of words alone, by ranks or by scores."""
    if options.fusion == "reciprocal":
        return fusion.reciprocal_rank([student, words], depth=options.depth)
    weights = [1.0 - options.bm25_weight, options.bm25_weight]
    return fusion.interpolate([student, words], weights, normalisation=options.fusion, depth=options.depth)


def _chosen(options: Search, development: Development, words: Run, say: Callable[[str], None]) -> Search:
    """The fusion with the best MAP on the development queries: by ranks, or by scores with a weight of tenths."""
    by_ranks = options.model_copy(update={"fusion": "reciprocal"})
    if not development.queries:
        return by_ranks
    by_scores = [{"fusion": "min-max", "bm25_weight": tenths / 10} for tenths in range(1, 10)]
    student, asked = development.ask(list(development.queries)), {query.id for query in development.queries}
    words = {query: found for query, found in words.items() if query in asked}

    def ap(run: Run) -> float:
        return measure(run, development.qrels, ("AP",)).mean["AP"]

    ways = [by_ranks, *(options.model_copy(update=way) for way in by_scores)]
    scores = [ap(fused(way, student, words)) for way in ways]
    best, alone = max(scores), ap(student)
    way = ways[scores.index(best)]
    how = "by ranks" if way.fusion == "reciprocal" else f"by scores, the weight of words {way.bm25_weight:g}"
    say(f"fusion {how}: MAP of {len(development.queries)} dev queries {best:.4f}, {alone:.4f} of the student alone")
    return way


def _asked(recipe: Recipe, queries: Sequence[Query], others: Sequence[Query]) -> dict[str, Sequence[Query]]:
    every = [*queries, *others]
    asked: dict[str, Sequence[Query]] = {UNTRANSLATED: every}
    path, table = _lexicon_path(recipe.folder, recipe.lang), _psq_path(recipe.folder, recipe.lang)
    if path.is_file() and path.stat().st_size:
        words = read_synonyms(path)
        asked[BY_LEXICON] = [Query(query.id, translate_by_lexicon(query.text, words)) for query in every]
    if table.is_file() and table.stat().st_size:  # runs made before there was one have none
        asked[PSQ] = every
    if recipe.search.translations:
        asked[TRANSLATED] = read_translations(recipe.search.translations.replace("{lang}", recipe.lang), queries)
    return asked


def _lexicon_path(run: Path, lang: str) -> Path:
    return run / f"lexicon-{lang}.tsv"


def _psq_path(run: Path, lang: str) -> Path:
    return run / f"psq-{lang}.tsv"
